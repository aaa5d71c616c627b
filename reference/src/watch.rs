//! Watching one file for a finished change, however it is made: inotify(7) on the directory, not on the file.
//!
//! A watch on the file follows the inode, so after a rename over the name it watches a file that nobody will ever change. The
//! directory sees every way to change what the name means:
//!
//! | How the file is changed | Event |
//! |---|---|
//! | written in place, finished | CLOSE_WRITE |
//! | another file renamed over it | MOVED_TO |
//! | touched, chmod | ATTRIB |
//! | symbolic or hard link created | CREATE |
//!
//! Every symbolic link on the way to the file is watched in the same manner, so switching `current -> releases/2` counts as well.
//! MODIFY does not: it says that writing has *not* finished. After an event the file must stay quiet for a while (one change
//! makes several events: touch gives ATTRIB and CLOSE_WRITE), and a file that somebody has open for writing is waited for.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// Links followed before a path counts as a loop; what path_resolution(7) allows.
const LINKS_MAX: usize = 40;

/// When an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the change is finished and the file has been quiet for this time.
    Settled(Duration),
    /// Each event at once: the mistake of [`crate::defect::Defect::WatchTriggered`].
    Raw,
}

/// One name that decides what the watched path means, and the directory where it lies.
#[derive(Debug, PartialEq, Eq)]
struct Hop {
    directory: PathBuf,
    name: OsString,
}

/// A watched file.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    path: PathBuf,
    mode: Mode,
    hops: Vec<(i32, Hop)>,
    quiet_at: Option<Instant>,
}

impl Watch {
    /// Watches an absolute path; the file need not exist yet, its directory must.
    ///
    /// # Errors
    /// What inotify_init1(2) or inotify_add_watch(2) report.
    pub fn new(path: &Path, mode: Mode) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch = Self { fd, path: std::path::absolute(path)?, mode, hops: Vec::new(), quiet_at: None };
        watch.follow()?;
        if watch.hops.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(watch) }
    }

    /// When to call [`Watch::changes`] even if the descriptor is silent.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.quiet_at
    }

    /// Forgets what has happened: somebody else answers for all that came before now.
    ///
    /// # Errors
    /// What reading the inotify descriptor reports.
    pub fn forget(&mut self) -> io::Result<()> {
        self.read_events()?;
        self.quiet_at = None;
        self.follow()
    }

    /// Something has just happened of which only somebody else has heard: it counts once the file has been quiet.
    pub fn hear(&mut self) {
        if let Mode::Settled(quiet) = self.mode {
            self.quiet_at = Some(Instant::now() + quiet);
        }
    }

    /// Reads what has happened; the number of changes that are complete now (0 or 1, unless raw).
    ///
    /// # Errors
    /// What reading the inotify descriptor reports.
    pub fn changes(&mut self) -> io::Result<u32> {
        let events = self.read_events()?;
        match self.mode {
            Mode::Raw => {
                if events > 0 {
                    self.follow()?;
                }
                Ok(events)
            }
            Mode::Settled(quiet) => {
                if events > 0 {
                    self.quiet_at = Some(Instant::now() + quiet);
                }
                if self.quiet_at.is_none_or(|at| at > Instant::now()) {
                    return Ok(0);
                }
                self.quiet_at = None;
                // Before the look at the file: a writer that closes from now on is heard.
                self.follow()?;
                Ok(u32::from(is_finished(&self.path)))
            }
        }
    }

    /// Empties the queue; the number of events that concern the path.
    fn read_events(&self) -> io::Result<u32> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        let mut relevant = 0;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    relevant += u32::from(self.concerns(event.wd(), event.events(), name));
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(relevant),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether an event may be a change of the path.
    fn concerns(&self, wd: i32, events: ReadFlags, name: Option<&OsStr>) -> bool {
        // Events were lost: one too many is better than one too few.
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            return true;
        }
        let hop = self.hops.iter().find(|(at, hop)| *at == wd && Some(hop.name.as_os_str()) == name);
        let Some((_, hop)) = hop else { return false };
        if !events.contains(ReadFlags::CREATE) || self.mode == Mode::Raw {
            return true;
        }
        // A link is complete when it is created; a new file is not, its CLOSE_WRITE follows.
        let there = hop.directory.join(&hop.name).symlink_metadata();
        there.is_ok_and(|there| there.is_symlink() || there.nlink() > 1)
    }

    /// Watches the directories that the path leads through now, and no others.
    fn follow(&mut self) -> io::Result<()> {
        let mut flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB | WatchFlags::CREATE;
        if self.mode == Mode::Raw {
            flags |= WatchFlags::MODIFY;
        }
        let mut hops = Vec::new();
        for hop in hops_of(&self.path) {
            match inotify::add_watch(&self.fd, &hop.directory, flags | WatchFlags::ONLYDIR) {
                Ok(wd) => hops.push((wd, hop)),
                // A link that points nowhere at the moment: the link itself is watched.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (wd, _) in &self.hops {
            if !hops.iter().any(|(kept, _)| kept == wd) {
                // Fails if the directory is gone, which has removed the watch already.
                let _ = inotify::remove_watch(&self.fd, *wd);
            }
        }
        self.hops = hops;
        Ok(())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The symbolic links on the way of an absolute path, and its end.
fn hops_of(path: &Path) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut here = PathBuf::from("/");
    // Components still to walk, the next one last.
    let mut ahead = components_reversed(path);
    while let Some(name) = ahead.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        let there = here.join(&name);
        let link = std::fs::read_link(&there).ok().filter(|_| hops.len() < LINKS_MAX);
        if link.is_some() || ahead.is_empty() {
            hops.push(Hop { directory: here.clone(), name });
        }
        match link {
            Some(target) => {
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                ahead.extend(components_reversed(&target));
            }
            None => here = there,
        }
    }
    hops
}

/// The names in a path, last one first.
fn components_reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    names.rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// Whether the file is there and nobody has it open for writing.
///
/// A read lease tells: fcntl(2) refuses it with EAGAIN while a writer has the file open. Only the owner (or CAP_LEASE) may
/// ask; for others the events alone must do. The lease is given back at once; a writer that comes in between waits for that
/// instant, and the SIGIO that announces it is ignored (see [`crate::signal`]).
fn is_finished(path: &Path) -> bool {
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = match opened {
        Ok(file) => file,
        // Executable but not readable is a fine program.
        Err(error) => return error.kind() == io::ErrorKind::PermissionDenied,
    };
    // SAFETY: F_SETLEASE takes an int and touches no memory of ours.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    let open_for_writing = result < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock;
    if result == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    }
    !open_for_writing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll;
    use crate::scratch::Scratch;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    /// Counts changes until nothing has been pending for a time that is long beside the quiet time.
    fn count(watch: &mut Watch) -> u32 {
        let mut changes = 0;
        loop {
            let patience = watch.deadline().unwrap_or_else(|| Instant::now() + Duration::from_millis(150));
            let (woken, was_pending) =
                (poll::until(&mut [poll::readable(watch)], Some(patience)).expect("poll"), watch.deadline().is_some());
            changes += watch.changes().expect("read");
            if !woken && !was_pending {
                return changes;
            }
        }
    }

    fn check(way: &str, mode: Mode, want: u32, change: impl FnOnce(&Path)) {
        let scratch = Scratch::new("watch");
        let path = scratch.path().join("file");
        std::fs::write(&path, "1").expect("write");
        let mut watch = Watch::new(&path, mode).expect("watch");
        change(&path);
        let found = count(&mut watch);
        assert!(if mode == Mode::Raw { found >= want } else { found == want }, "{way}: {found}");
    }

    const SETTLED: Mode = Mode::Settled(Duration::from_millis(30));

    fn beside(path: &Path) -> PathBuf {
        path.with_file_name("beside")
    }

    #[test]
    fn each_way_of_writing_is_one_change() {
        check("nothing", SETTLED, 0, |_| {});
        check("in place", SETTLED, 1, |path| std::fs::write(path, "2").expect("write"));
        check("rename", SETTLED, 1, |path| {
            std::fs::write(beside(path), "2").expect("write");
            std::fs::rename(beside(path), path).expect("rename");
        });
        check("touch", SETTLED, 1, |path| {
            let file = File::options().append(true).open(path).expect("open");
            file.set_modified(std::time::SystemTime::now()).expect("touch");
        });
        check("link", SETTLED, 1, |path| {
            std::fs::remove_file(path).expect("unlink");
            symlink("elsewhere", path).expect("symlink");
            std::fs::write(path, "2").expect("write through");
        });
        check("removed and written anew", SETTLED, 1, |path| {
            std::fs::remove_file(path).expect("unlink");
            std::fs::write(path, "2").expect("write");
        });
        check("removed", SETTLED, 0, |path| std::fs::remove_file(path).expect("unlink"));
        check("another file", SETTLED, 0, |path| std::fs::write(beside(path), "2").expect("write"));
        check("read", SETTLED, 0, |path| drop(std::fs::read(path).expect("read")));
    }

    #[test]
    fn a_half_written_file_waits_for_its_writer() {
        let scratch = Scratch::new("watch-half");
        let path = scratch.path().join("file");
        std::fs::write(&path, "1").expect("write");
        let mut watch = Watch::new(&path, SETTLED).expect("watch");
        let mut writer = File::create(&path).expect("truncate");
        writer.write_all(b"ha").expect("half");
        writer.set_modified(std::time::SystemTime::now()).expect("touch while writing");
        assert_eq!(count(&mut watch), 0);
        writer.write_all(b"lf").expect("the rest");
        drop(writer);
        assert_eq!(count(&mut watch), 1);
    }

    #[test]
    fn changes_go_on_being_seen_after_a_rename_and_a_switched_link() {
        let scratch = Scratch::new("watch-switch");
        let at = |name: &str| scratch.path().join(name);
        for release in ["1", "2"] {
            std::fs::create_dir(at(release)).expect("mkdir");
            std::fs::write(at(release).join("file"), release).expect("write");
        }
        symlink("1", at("current")).expect("symlink");
        let path = at("current").join("file");
        let mut watch = Watch::new(&path, SETTLED).expect("watch");
        for _ in 0..2 {
            std::fs::write(at("new"), "x").expect("write");
            std::fs::rename(at("new"), at("1/file")).expect("rename");
            assert_eq!(count(&mut watch), 1);
        }
        symlink("2", at("next")).expect("symlink");
        std::fs::rename(at("next"), at("current")).expect("switch");
        assert_eq!(count(&mut watch), 1);
        std::fs::write(at("1/file"), "no longer ours").expect("write");
        assert_eq!(count(&mut watch), 0);
        std::fs::write(at("2/file"), "ours").expect("write");
        assert_eq!(count(&mut watch), 1);
    }

    #[test]
    fn the_raw_defect_counts_events_instead_of_changes() {
        check("in place", Mode::Raw, 2, |path| std::fs::write(path, "2").expect("write"));
    }
}
