//! Watches the pidfile's name: every change, in its order.
//!
//! The order is exact (inotify), the content is not: it is read after the event was delivered, so it may be that of a
//! later state. Two events of one kind in a row that nobody has read yet are one (inotify(7)).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use super::account::Account;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::inbox::{Inbox, Outbox, inbox};
use super::vantage::Vantage;
use crate::clock::{Interval, Nanos};
use crate::event::{PidfileChange, What};
use crate::kernel::inotify::{NameEvent, NameWatch};
use crate::wait::ready_within;

const NAME: &str = "pidfile";
/// Events wake the thread at once; looking in between only moves up the instant before which the next one cannot have
/// happened. As often as the process tree is sampled, against which the pidfile is judged.
const SAMPLE: Duration = Duration::from_millis(2);
/// A pid has ten digits; a file beyond this is no pidfile and its beginning proves it.
const CONTENT_BYTES_MAX: u64 = 4096;

/// What a look at the pidfile found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PidfileState {
    /// Inode of the name itself (a symlink is not followed); `None` when it is absent.
    pub inode: Option<u64>,
    /// Its bytes, lossily decoded; `None` when it is absent, unreadable or no regular file.
    pub content: Option<String>,
}

/// Asks for readings.
#[derive(Debug, Clone)]
pub struct PidfileReader {
    requests: Outbox<SyncSender<PidfileState>>,
}

impl PidfileReader {
    /// Reads now. Events of before are in the sink first, then a `Read`, then this returns.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn read_now(&self) -> Result<PidfileState, ObserveError> {
        let (answer, answered) = sync_channel(1);
        // A request that the thread no longer takes drops its answer's sender.
        let _ = self.requests.send(answer);
        answered.recv().map_err(|_gone| ObserveError::Ended { observer: NAME })
    }
}

/// Observer of the pidfile.
#[derive(Debug)]
pub struct PidfileObserver;

impl PidfileObserver {
    /// Starts it: its first event is a `Read`. The directory of `path` must exist.
    ///
    /// # Errors
    /// When `path` has no directory or name, or inotify refuses.
    pub fn spawn(path: PathBuf, vantage: Vantage) -> Result<(PidfileReader, Handle), ObserveError> {
        let (requests, inbox) = inbox().map_err(|source| ObserveError::Thread { observer: NAME, source })?;
        let handle = spawn(NAME, vantage, move |vantage, account| {
            let names = open(&path).map_err(ObserveError::look(NAME, format!("watch {}", path.display())))?;
            let watch = PidfileWatch { path, names, inbox, empty_at: vantage.clock.now() };
            account.sampled(watch.empty_at);
            watch.read(vantage);
            Ok(watch)
        })?;
        Ok((PidfileReader { requests }, handle))
    }
}

fn open(path: &Path) -> io::Result<NameWatch> {
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) if !directory.as_os_str().is_empty() => NameWatch::open(directory, name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path of a directory and a name")),
    }
}

struct PidfileWatch {
    path: PathBuf,
    names: NameWatch,
    inbox: Inbox<SyncSender<PidfileState>>,
    /// When the queue of events was last known to be empty.
    empty_at: Nanos,
}

impl Watch for PidfileWatch {
    fn watch(mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        loop {
            let fds = [vantage.stop.as_fd(), self.names.as_fd(), self.inbox.as_fd()];
            let stopped = ready_within(&fds, vantage.pace(SAMPLE))[0].readable;
            account.sampled(vantage.clock.now());
            self.drain(vantage)?;
            while let Some(answer) = self.inbox.next() {
                // What happened before the request was sent is in the queue by now.
                self.drain(vantage)?;
                // Whoever asked may have given up.
                let _ = answer.send(self.read(vantage));
            }
            if stopped {
                self.read(vantage);
                return Ok(());
            }
        }
    }
}

impl PidfileWatch {
    fn drain(&mut self, vantage: &Vantage) -> Result<(), ObserveError> {
        loop {
            let looked = vantage.clock.now();
            let read = self.names.read().map_err(ObserveError::look(NAME, "read the inotify queue"))?;
            let Some(events) = read else {
                self.empty_at = looked;
                return Ok(());
            };
            for event in events {
                self.tell(event, vantage);
            }
        }
    }

    fn tell(&self, event: NameEvent, vantage: &Vantage) {
        let change = match event {
            NameEvent::Created => PidfileChange::Created,
            NameEvent::Modified => PidfileChange::Modified,
            NameEvent::ClosedAfterWrite => PidfileChange::ClosedAfterWrite,
            NameEvent::Deleted => PidfileChange::Deleted,
            NameEvent::MovedFrom => PidfileChange::MovedAway,
            NameEvent::MovedTo => PidfileChange::MovedOver,
            // Nobody asked for it.
            NameEvent::Opened => return,
            NameEvent::Overflow => return vantage.fault(NAME, "inotify queue overflow: changes were lost"),
            NameEvent::Blind => return vantage.fault(NAME, "the pidfile's directory was moved, deleted or unmounted"),
        };
        let state = look(&self.path);
        let at = Interval::new(self.empty_at, vantage.clock.now());
        vantage.put(at, What::Pidfile { change, inode: state.inode, content: state.content });
    }

    fn read(&self, vantage: &Vantage) -> PidfileState {
        let began = vantage.clock.now();
        let state = look(&self.path);
        let (inode, content) = (state.inode, state.content.clone());
        let at = Interval::new(began, vantage.clock.now());
        vantage.put(at, What::Pidfile { change: PidfileChange::Read, inode, content });
        state
    }
}

/// Inode and content of one file, also when the name changes hands meanwhile. Never blocks on a FIFO.
fn look(path: &Path) -> PidfileState {
    // O_NONBLOCK: the open of a FIFO returns. O_NOFOLLOW: a symlink is what the name is, not what it points at.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    match opened.and_then(|file| Ok((file.metadata()?, file))) {
        Ok((metadata, file)) if metadata.is_file() => {
            PidfileState { inode: Some(metadata.ino()), content: content(file) }
        }
        Ok((metadata, _)) => PidfileState { inode: Some(metadata.ino()), content: None },
        Err(_unreadable) => PidfileState { inode: fs::symlink_metadata(path).ok().map(|it| it.ino()), content: None },
    }
}

fn content(file: File) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(CONTENT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    use PidfileChange::{ClosedAfterWrite, Created, Deleted, Modified, MovedAway, MovedOver, Read};

    use super::super::fixture::Fixture;
    use super::*;

    /// What a step does in the directory, and what the observer must tell of it.
    type Step<'a> = (fn(&Path), &'a [PidfileChange]);

    /// Runs `steps` on a directory whose `pid` holds "1"; after each one the observer must have told `want` of it.
    fn check(steps: &[Step<'_>]) -> Vec<(PidfileChange, PidfileState)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("unbroken-pidfile-{}-{number}", std::process::id()));
        fs::create_dir(&directory).expect("mkdir");
        fs::write(directory.join("pid"), "1\n").expect("write");
        let fixture = Fixture::new(None);
        let (reader, handle) = PidfileObserver::spawn(directory.join("pid"), fixture.vantage()).expect("spawn");
        let told = || {
            let pidfile = |(_, what)| match what {
                What::Pidfile { change, inode, content } => Some((change, PidfileState { inode, content })),
                What::ObserverEnded { .. } => None,
                other => panic!("{other:?}"),
            };
            fixture.take().into_iter().filter_map(pidfile).collect::<Vec<_>>()
        };
        assert_eq!(told()[0].1.content.as_deref(), Some("1\n"));
        let mut all = Vec::new();
        for (step, want) in steps {
            step(&directory);
            reader.read_now().expect("read");
            let changes = told();
            let kinds: Vec<_> = changes.iter().map(|(change, _)| *change).collect();
            assert_eq!(kinds, [*want, &[Read]].concat());
            all.extend(changes);
        }
        fixture.stop();
        handle.finish().expect("finish");
        assert_eq!(told().len(), 1, "one last reading");
        assert!(matches!(reader.read_now(), Err(ObserveError::Ended { .. })));
        fs::remove_dir_all(directory).expect("remove");
        all
    }

    #[test]
    fn a_rename_over_the_name_is_one_change_to_a_new_inode() {
        let told = check(&[
            (|dir| fs::write(dir.join("pid.new"), "2\n").expect("write"), &[]),
            (|dir| fs::rename(dir.join("pid.new"), dir.join("pid")).expect("rename"), &[MovedOver]),
        ]);
        assert_ne!(told[0].1.inode, told[1].1.inode);
        assert_eq!(told[1].1.content.as_deref(), Some("2\n"));
    }

    #[test]
    fn unlink_and_create_leaves_the_name_absent_and_then_empty() {
        let told = check(&[
            (|dir| fs::remove_file(dir.join("pid")).expect("unlink"), &[Deleted]),
            (|dir| drop(File::create(dir.join("pid")).expect("create")), &[Created, ClosedAfterWrite]),
            (|dir| append(&dir.join("pid"), "2\n"), &[Modified, ClosedAfterWrite]),
        ]);
        assert_eq!(told[0].1, PidfileState::default());
        assert_eq!(told[2].1.content.as_deref(), Some(""));
        assert_eq!(told.last().expect("told").1.content.as_deref(), Some("2\n"));
    }

    #[test]
    fn truncating_in_place_is_modified_with_the_same_inode_and_empty() {
        let truncate = |dir: &Path| {
            let file = OpenOptions::new().write(true).open(dir.join("pid")).expect("open");
            file.set_len(0).expect("truncate");
        };
        let told = check(&[
            (truncate, &[Modified, ClosedAfterWrite]),
            (|dir| append(&dir.join("pid"), "2\n"), &[Modified, ClosedAfterWrite]),
        ]);
        assert_eq!(told[0].1.content.as_deref(), Some(""));
        assert_eq!(told[0].1.inode, told[3].1.inode);
    }

    #[test]
    fn a_rename_away_leaves_the_name_absent() {
        let told = check(&[(|dir| fs::rename(dir.join("pid"), dir.join("pid.oldbin")).expect("rename"), &[MovedAway])]);
        assert_eq!(told[0].1, PidfileState::default());
    }

    #[test]
    fn a_symlink_or_a_fifo_in_its_place_is_seen_and_not_read() {
        let link = |dir: &Path| {
            fs::remove_file(dir.join("pid")).expect("unlink");
            std::os::unix::fs::symlink("/etc/passwd", dir.join("pid")).expect("symlink");
        };
        let fifo = |dir: &Path| {
            fs::remove_file(dir.join("pid")).expect("unlink");
            nix::unistd::mkfifo(&dir.join("pid"), nix::sys::stat::Mode::S_IRUSR).expect("mkfifo");
        };
        let told = check(&[(link, &[Deleted, Created]), (fifo, &[Deleted, Created])]);
        assert!(told[2].1.inode.is_some() && told[2].1.content.is_none(), "{told:?}");
        assert!(told[5].1.inode.is_some() && told[5].1.content.is_none(), "{told:?}");
    }

    #[test]
    fn an_absent_directory_is_an_error_at_once() {
        let fixture = Fixture::new(None);
        for path in ["/absent/for/sure/pid", "pid", "/"] {
            assert!(PidfileObserver::spawn(path.into(), fixture.vantage()).is_err(), "{path}");
        }
    }

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().append(true).open(path).expect("open");
        file.write_all(text.as_bytes()).expect("write");
    }
}
