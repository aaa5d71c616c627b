//! The `/proc` of the target's pid namespace, by a kept directory descriptor.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, openat, readlinkat, statat};
use rustix::io::Errno;
use thiserror::Error;

use super::kept::Kept;
use super::stat::{Stat, StatError, ticks};
use crate::id::Pid;

/// Why `/proc` could not be read. A process that vanishes meanwhile, or that may not be looked at, is no error.
#[derive(Debug, Error)]
pub enum ProcfsError {
    /// Opening or reading an entry.
    #[error("read {path} of the target's /proc")]
    Read {
        /// Relative to the root of that `/proc`.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A line in an unknown form.
    #[error(transparent)]
    Stat(#[from] StatError),
}

/// An open descriptor of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number.
    pub number: i32,
    /// Where its link points: a path, `socket:[123]`, `pipe:[45]`, lossily decoded.
    pub link: String,
}

impl Descriptor {
    /// The inode, when it is a socket.
    #[must_use]
    pub fn socket(&self) -> Option<u64> {
        self.link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    }
}

/// Which processes of a `/proc` are the target's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Every one but the init: the pid namespace is the target's own.
    AllBut(Pid),
    /// The descendants of this one, which lives among strangers.
    DescendantsOf(Pid),
}

/// The target's `/proc`.
#[derive(Debug)]
pub struct Procfs {
    root: OwnedFd,
    scope: Scope,
    stats: Mutex<Kept>,
}

impl Procfs {
    /// The `/proc` of a pid namespace whose only stranger is its `init`.
    #[must_use]
    pub fn isolated(root: OwnedFd, init: Pid) -> Procfs {
        Procfs::of(root, Scope::AllBut(init))
    }

    /// A `/proc` with strangers in it: the target is what descends from `init`.
    #[must_use]
    pub fn shared(root: OwnedFd, init: Pid) -> Procfs {
        Procfs::of(root, Scope::DescendantsOf(init))
    }

    fn of(root: OwnedFd, scope: Scope) -> Procfs {
        Procfs { root, scope, stats: Mutex::default() }
    }

    /// Every process of the target, zombies included, by pid. Not a snapshot: the kernel is read process by process.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn scan(&self) -> Result<Vec<Stat>, ProcfsError> {
        let mut all = Vec::new();
        let mut buffer = [0; 1024];
        let mut kept = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in self.numbers(".")? {
            match kept.read(&self.root, Pid(pid), &mut buffer) {
                Ok(line) => all.push(Stat::parse(line)?),
                Err(errno) => drop(absent::<()>(&format!("{pid}/stat"), errno)?),
            }
        }
        kept.retain_seen();
        drop(kept);
        match self.scope {
            Scope::AllBut(init) => all.retain(|stat| stat.image.pid != init),
            Scope::DescendantsOf(init) => self.keep_descendants(&mut all, init)?,
        }
        all.sort_unstable_by_key(|stat| stat.image.pid);
        Ok(all)
    }

    /// For how long each thread of a process has been ready to run while others had the processors, since it began; empty
    /// when the process is gone, not ours to look at, or of a kernel that does not count. The kernel adds a wait when it is over.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn waits(&self, pid: Pid) -> Result<BTreeMap<Pid, Duration>, ProcfsError> {
        let mut waits = BTreeMap::new();
        for thread in self.threads(pid)? {
            waits.extend(self.thread_time(pid, thread)?.map(|(_, waited)| (thread, waited)));
        }
        Ok(waits)
    }

    /// For how long the threads of a process have run, and for how long they were ready to run while others had the
    /// processors, each added up; those of threads that have ended are not in it. `None` when it is gone, not ours to look at,
    /// or of a kernel that does not count.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn processor_time(&self, pid: Pid) -> Result<Option<(Duration, Duration)>, ProcfsError> {
        let mut sum = None;
        for thread in self.threads(pid)? {
            if let Some((ran, waited)) = self.thread_time(pid, thread)? {
                let (before_ran, before_waited) = sum.unwrap_or_default();
                sum = Some((before_ran + ran, before_waited + waited));
            }
        }
        Ok(sum)
    }

    /// For how long a thread has run and waited to: the first two numbers of its `schedstat` (sched-stats in the kernel's
    /// documentation), nanoseconds.
    fn thread_time(&self, pid: Pid, thread: Pid) -> Result<Option<(Duration, Duration)>, ProcfsError> {
        let line = self.read(&format!("{pid}/task/{thread}/schedstat"))?.unwrap_or_default();
        let mut numbers = line.split(|byte| *byte == b' ').map(|it| std::str::from_utf8(it).ok()?.parse().ok());
        let mut next = || numbers.next().flatten().map(Duration::from_nanos);
        Ok(next().zip(next()))
    }

    /// One process, any; `None` when there is none of that pid.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn stat(&self, pid: Pid) -> Result<Option<Stat>, ProcfsError> {
        match self.read(&format!("{pid}/stat"))? {
            Some(line) => Ok(Some(Stat::parse(&line)?)),
            None => Ok(None),
        }
    }

    /// Processor time of the target since it began, in milliseconds, by clock ticks of ten of them; those of its processes that have ended are
    /// in it as far as somebody waited for them, and so are the commands that were run in its place. `None` where strangers are in this
    /// `/proc`: who has ended there cannot be told from theirs.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn spent_ms(&self) -> Result<Option<u64>, ProcfsError> {
        const MS_OF_A_TICK: u64 = 10;
        let Scope::AllBut(init) = self.scope else { return Ok(None) };
        let mut sum = 0;
        for pid in self.numbers(".")? {
            let line = self.read(&format!("{pid}/stat"))?.unwrap_or_default();
            let (own, of_children) = ticks(&line).unwrap_or_default();
            // Whoever has no parent left is waited for by `init`.
            sum += if Pid(pid) == init { of_children } else { own + of_children };
        }
        Ok(Some(MS_OF_A_TICK * sum))
    }

    /// The executable's path, with " (deleted)" after its file was replaced; `None` when the process is gone, a zombie,
    /// or not ours to look at.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn executable(&self, pid: Pid) -> Result<Option<String>, ProcfsError> {
        self.link(&format!("{pid}/exe"))
    }

    /// The command line, lossily decoded; `None` when the process is gone, empty for a zombie.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn command_line(&self, pid: Pid) -> Result<Option<Vec<String>>, ProcfsError> {
        let Some(bytes) = self.read(&format!("{pid}/cmdline"))? else { return Ok(None) };
        let Some(bytes) = bytes.strip_suffix(b"\0") else { return Ok(Some(Vec::new())) };
        Ok(Some(bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()))
    }

    /// The names of the variables that its program was executed with, sorted: what the kernel put on its first stack, without the
    /// values, which are nobody's business. `None` when it is gone or not ours to look at.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn variables(&self, pid: Pid) -> Result<Option<Vec<String>>, ProcfsError> {
        Ok(self.read(&format!("{pid}/environ"))?.map(|bytes| names_in(&bytes)))
    }

    /// The inodes of the sockets that it holds open; none when it is gone or not ours to look at.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn fds_of(&self, pid: Pid) -> Result<Vec<u64>, ProcfsError> {
        Ok(self.descriptors(pid)?.iter().filter_map(Descriptor::socket).collect())
    }

    /// Its open descriptors by number; none when it is gone or not ours to look at.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn descriptors(&self, pid: Pid) -> Result<Vec<Descriptor>, ProcfsError> {
        let mut descriptors = Vec::new();
        for number in self.numbers(&format!("{pid}/fd"))? {
            let link = self.link(&format!("{pid}/fd/{number}"))?;
            descriptors.extend(link.map(|link| Descriptor { number, link }));
        }
        descriptors.sort_unstable_by_key(|descriptor| descriptor.number);
        Ok(descriptors)
    }

    /// How one of its descriptors is open: flags of open(2), O_CLOEXEC among them (proc_pid_fdinfo(5)); `None` when it is
    /// closed, the process gone, or not ours to look at.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn open_flags(&self, pid: Pid, number: i32) -> Result<Option<u32>, ProcfsError> {
        let info = self.read(&format!("{pid}/fdinfo/{number}"))?;
        Ok(info.and_then(|info| flags_in(&String::from_utf8_lossy(&info))))
    }

    /// The inode that one of its descriptors has open, whatever its name by now; `None` as above.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn open_inode(&self, pid: Pid, number: i32) -> Result<Option<u64>, ProcfsError> {
        let path = format!("{pid}/fd/{number}");
        match statat(&self.root, &path, AtFlags::empty()) {
            Ok(stat) => Ok(Some(stat.st_ino)),
            Err(errno) => absent(&path, errno),
        }
    }

    /// The ids of its threads; none when it is gone.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn threads(&self, pid: Pid) -> Result<Vec<Pid>, ProcfsError> {
        Ok(self.numbers(&format!("{pid}/task"))?.into_iter().map(Pid).collect())
    }

    /// Any small file below it (`12/status`, `12/task/13/schedstat`); `None` when it is gone or not ours to look at.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, ProcfsError> {
        let mut content = vec![0; 4096];
        let mut length = 0;
        let Some(file) = self.open(path, OFlags::RDONLY)? else { return Ok(None) };
        loop {
            match rustix::io::read(&file, &mut content[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(Errno::INTR) => {}
                Err(errno) => return absent(path, errno),
            }
            if length == content.len() {
                content.resize(2 * length, 0);
            }
        }
        content.truncate(length);
        Ok(Some(content))
    }

    /// Any link below it; `None` when it is gone or not ours to look at.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn link(&self, path: &str) -> Result<Option<String>, ProcfsError> {
        match readlinkat(&self.root, path, Vec::new()) {
            Ok(link) => Ok(Some(link.to_string_lossy().into_owned())),
            Err(errno) => absent(path, errno),
        }
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<Option<OwnedFd>, ProcfsError> {
        match openat(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(errno) => absent(path, errno),
        }
    }

    /// The names in a directory that are numbers. Opened anew each time: the position in a directory belongs to the
    /// open file, and several threads look.
    fn numbers(&self, path: &str) -> Result<Vec<i32>, ProcfsError> {
        let mut numbers = Vec::new();
        let Some(directory) = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)? else { return Ok(numbers) };
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) => numbers.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok())),
                Err(Errno::INTR) => {}
                // The process ended while its directory was read.
                Err(errno) => {
                    absent::<()>(path, errno)?;
                    break;
                }
            }
        }
        Ok(numbers)
    }

    /// Reduces a look at a shared `/proc` to the descendants of `init`. A parent that ended between the look at its
    /// child and the look at itself leaves the child with a parent that nobody saw: the kernel has given it another
    /// one, so it is looked at again.
    fn keep_descendants(&self, all: &mut Vec<Stat>, init: Pid) -> Result<(), ProcfsError> {
        let seen: BTreeSet<Pid> = all.iter().map(|stat| stat.image.pid).collect();
        for stat in all.iter_mut().filter(|stat| stat.ppid != Pid(0) && !seen.contains(&stat.ppid)) {
            if let Some(now) = self.stat(stat.image.pid)? {
                *stat = now;
            }
        }
        let mut kin = BTreeSet::from([init]);
        loop {
            let known = kin.len();
            kin.extend(
                all.iter().filter(|stat| kin.contains(&stat.ppid)).map(|stat| stat.image.pid).collect::<Vec<_>>(),
            );
            if kin.len() == known {
                break;
            }
        }
        kin.remove(&init);
        all.retain(|stat| kin.contains(&stat.image.pid));
        Ok(())
    }
}

/// The names in an environment. What has no `=` is none: a program that renames itself writes its title there.
fn names_in(environment: &[u8]) -> Vec<String> {
    let name = |entry: &[u8]| {
        let end = entry.iter().position(|byte| *byte == b'=')?;
        Some(String::from_utf8_lossy(&entry[..end]).into_owned())
    };
    let mut names: Vec<String> = environment.split(|byte| *byte == 0).filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// The line `flags:` of an fdinfo file, in octal.
fn flags_in(info: &str) -> Option<u32> {
    let octal = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(octal.trim(), 8).ok()
}

/// Gone (ENOENT, ESRCH) and not ours to look at (EACCES, EPERM) are answers; anything else is an error.
fn absent<T>(path: &str, errno: Errno) -> Result<Option<T>, ProcfsError> {
    match errno {
        Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM => Ok(None),
        errno => Err(ProcfsError::Read { path: path.to_owned(), source: errno.into() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::process::{Command, Stdio};

    use super::*;

    fn own() -> Pid {
        Pid(std::process::id() as i32)
    }

    fn procfs() -> Procfs {
        let root = std::fs::File::open("/proc").expect("/proc is mounted");
        Procfs::shared(root.into(), own())
    }

    #[test]
    fn a_scan_of_a_shared_proc_shows_descendants_and_no_strangers() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "sleep 1000 & wait"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("/bin/sh exists");
        let pid = Pid(child.id() as i32);
        let stop = crate::wait::Stop::new().expect("a descriptor is left");
        let limit = Duration::from_secs(10);
        let grandchild = crate::wait::until(limit, Duration::from_millis(1), &stop, || {
            let stats = procfs().scan().expect("/proc is readable");
            assert!(stats.iter().all(|stat| stat.image.pid != own() && stat.image.pid != Pid(1)));
            let found = stats.iter().any(|stat| stat.image.pid == pid);
            match stats.iter().find(|stat| stat.ppid == pid && stat.name == "sleep") {
                Some(stat) if found => crate::wait::Look::Yes::<_, ()>(stat.image.pid),
                _ => crate::wait::Look::NotYet,
            }
        });
        let grandchild = grandchild.expect("the shell forks");
        assert_eq!(procfs().command_line(grandchild).expect("readable"), Some(vec!["sleep".into(), "1000".into()]));
        // SAFETY: kill(2) on our own unreaped descendant.
        unsafe { libc::kill(grandchild.0, libc::SIGKILL) };
        child.wait().expect("it is our child");
        assert_eq!(procfs().stat(pid).expect("a vanished process is no error"), None);
        assert_eq!(procfs().command_line(pid).expect("a vanished process is no error"), None);
        assert!(procfs().fds_of(pid).expect("a vanished process is no error").is_empty());
    }

    #[test]
    fn a_process_that_ran_has_waited_for_a_processor_and_one_that_is_gone_is_missing() {
        let gone =
            Pid(Command::new("/bin/true").spawn().and_then(|mut it| it.wait().map(|_| it.id())).expect("it runs")
                as i32);
        let waits = procfs().waits(own()).expect("our own is readable");
        assert!(waits.values().any(|waited| *waited > Duration::ZERO), "{waits:?}");
        assert!(procfs().waits(gone).expect("one that is gone is no error").is_empty());
    }

    #[test]
    fn of_variables_only_the_names_are_told() {
        assert_eq!(names_in(b"PATH=/bin\0A=b=c\0server: idle\0\0A=d\0"), ["A", "PATH"]);
        assert!(names_in(b"").is_empty());
        let names = procfs().variables(own()).expect("our own is readable").expect("it lives");
        assert!(names.contains(&"PATH".to_owned()), "{names:?}");
    }

    #[test]
    fn sockets_are_told_by_their_inode() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has a port to spare");
        let descriptors = procfs().descriptors(own()).expect("our own are readable");
        let descriptor = descriptors.iter().find(|descriptor| descriptor.number == socket.as_raw_fd());
        let inode = descriptor.and_then(Descriptor::socket).expect("it is open and a socket");
        assert!(procfs().fds_of(own()).expect("our own are readable").contains(&inode));
    }

    #[test]
    fn descriptors_tell_how_they_are_open_and_what_they_lead_to() {
        let file = std::fs::File::open("/proc/self/exe").expect("our own is readable");
        let number = file.as_raw_fd();
        let flags = procfs().open_flags(own(), number).expect("readable").expect("it is open");
        assert_eq!(flags & (libc::O_ACCMODE | libc::O_CLOEXEC) as u32, libc::O_CLOEXEC as u32, "{flags:o}");
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().expect("it is open"));
        assert_eq!(procfs().open_inode(own(), number).expect("readable"), Some(inode));
        assert_eq!(procfs().open_flags(own(), 1 << 20).expect("a closed one is no error"), None);
        assert_eq!(flags_in("pos:\t0\nflags:\t02100001\nmnt_id:\t9\n"), Some(0o2_100_001));
    }

    #[test]
    fn threads_and_executable_of_this_process_are_found() {
        let threads = procfs().threads(own()).expect("our own are readable");
        assert!(threads.contains(&own()));
        let executable = procfs().executable(own()).expect("our own is readable").expect("we live");
        assert_eq!(Some(executable.as_str()), std::env::current_exe().expect("it has a path").to_str());
    }
}
