//! Speaking to a running daemon through its pidfile, and never to anybody else.
//!
//! The number in a pidfile is a rumour: the daemon may be dead and the number somebody else's by now, and `kill $(cat pidfile)` then
//! ends a stranger (CVE-2017-11747 made use of it). What is believed here is a process that
//!
//! 1. the file names, in strict decimal (`12x`, `-5`, `0` and `1` are no daemon, and kill(2) gives three of them another meaning),
//! 2. is held by a pidfd, so that it is one process from now on and no number,
//! 3. has the *lock* of that very file: `/proc/PID/fdinfo` tells of each descriptor whether its open file description holds one. flock(2)
//!    only tells that somebody holds it, and `/proc/locks` names the launcher who took it, if it names anybody (in a pid namespace
//!    the lock of a process that has ended is not listed at all),
//! 4. lives after that was read: its number was then its own all the while, so that what was read was read of it.
//!
//! The signal goes through the pidfd. Which leaves no race about *who* gets it; what is left is *when*: a daemon that is at its end
//! anyway may get a signal too many, and one that starts a moment later none.
//!
//! Nothing is changed by looking. Where `/proc` does not let one look into the process (it is another user's, or gave up its
//! privileges), it can be seen that somebody holds the lock, and not who: it is said to run, and is not signalled.
//!
//! ```no_run
//! # use std::{path::Path, time::Duration};
//! # use unbroken_reference::control::{self, ControlError};
//! # fn main() -> Result<(), ControlError> {
//! match control::find(Path::new("/run/web.pid")) {
//!     // Returns when it has ended: a start may follow at once.
//!     Ok(running) => running.stop(Duration::from_secs(10)),
//!     Err(ControlError::NotRunning) => Ok(()),
//!     Err(error) => Err(error),
//! }
//! # }
//! ```

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::pidfile::{self, PidfileError};
use crate::poll;

/// The daemon: proven, and held.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    pidfd: OwnedFd,
}

/// What a pidfile tells.
#[derive(Debug)]
pub enum Found {
    /// The daemon lives.
    Alive(Running),
    /// The process lives and the file is locked; that the one holds the other cannot be seen from here.
    Unproven(Pid),
    /// A process lives that has this number now; it is not the daemon.
    Foreign(Pid),
    /// It names nobody who lives. Also while a start is under way, that has not signed yet.
    Stale,
    /// It is empty: what a daemon leaves that may not remove it at its end ([`crate::pidfile::Pidfile::remove`]).
    Emptied,
    /// There is none.
    Absent,
    /// A symbolic link, FIFO, directory or device lies there.
    NotRegular,
}

/// Why a daemon was not told anything.
#[derive(Debug)]
pub enum ControlError {
    /// It does not run.
    NotRunning,
    /// See [`Found::Unproven`].
    Unproven(Pid),
    /// See [`Found::NotRegular`].
    NotRegular(PathBuf),
    /// It was told to stop, and has not ended within this time.
    Lasts(Pid, Duration),
    /// kill(2) would say EPERM.
    Forbidden(Pid),
    /// A system call failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for ControlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => write!(out, "not running"),
            Self::Unproven(pid) => {
                write!(out, "process {pid} cannot be told from the daemon by this user: not signalled")
            }
            Self::NotRegular(path) => write!(out, "{} is not a regular file", path.display()),
            Self::Lasts(pid, patience) => {
                write!(out, "process {pid} was told to stop and has not ended within {} ms", patience.as_millis())
            }
            Self::Forbidden(pid) => write!(out, "process {pid} may not be signalled by this user"),
            Self::Io(path, error) => write!(out, "cannot ask {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ControlError {}

/// Looks, and changes nothing.
///
/// # Errors
/// What open(2), read(2) or pidfd_open(2) report, other than that there is nothing.
pub fn search(path: &Path) -> io::Result<Found> {
    let file = match pidfile::open_existing(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Found::Absent),
        Err(PidfileError::Io(_, error)) => return Err(error),
        Err(_) => return Ok(Found::NotRegular),
    };
    let content = content(&file)?;
    if content.is_empty() {
        return Ok(Found::Emptied);
    }
    let Some(pid) = named(&content) else { return Ok(Found::Stale) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        // Nobody's; or it is the number of a thread now, and so of no process.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(Found::Stale),
        Err(error) => return Err(error.into()),
    };
    let holder = holder(pid, &file)?;
    // A daemon that ended in between may have emptied it.
    let is_named = named(&self::content(&file)?) == Some(pid);
    if !is_named || has_ended(&pidfd)? {
        return Ok(Found::Stale);
    }
    Ok(match holder {
        Holder::It => Found::Alive(Running { pid, pidfd }),
        Holder::NotIt => Found::Foreign(pid),
        // Only now: while it lives and has the lock, nobody is disturbed by the attempt.
        Holder::Hidden if is_locked(&file)? => Found::Unproven(pid),
        Holder::Hidden => Found::Foreign(pid),
    })
}

/// The daemon, to be told something.
///
/// # Errors
/// [`ControlError`]: there is none, or it cannot be proven which it is.
pub fn find(path: &Path) -> Result<Running, ControlError> {
    match search(path).map_err(|error| ControlError::Io(path.to_owned(), error))? {
        Found::Alive(running) => Ok(running),
        Found::Unproven(pid) => Err(ControlError::Unproven(pid)),
        Found::NotRegular => Err(ControlError::NotRegular(path.to_owned())),
        Found::Foreign(_) | Found::Stale | Found::Emptied | Found::Absent => Err(ControlError::NotRunning),
    }
}

/// Signals whomever the digits at the beginning of the file name, as a script with atoi(3) does: the mistake of
/// [`crate::defect::Defect::NeverHitsStranger`].
///
/// # Errors
/// [`ControlError::Io`].
pub fn believe(path: &Path) -> Result<(), ControlError> {
    let content = std::fs::read_to_string(path).map_err(|error| ControlError::Io(path.to_owned(), error))?;
    let digits = content.split(|it: char| !it.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    if let Some(pid) = digits.filter(|pid| *pid > 0).and_then(Pid::from_raw) {
        // Whoever is gone need not be stopped.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    Ok(())
}

impl Running {
    /// Its number, for people.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal: SIGHUP, to open its log anew.
    ///
    /// # Errors
    /// [`ControlError::NotRunning`], when it has ended since; [`ControlError::Forbidden`].
    pub fn signal(&self, signal: Signal) -> Result<(), ControlError> {
        pidfd_send_signal(&self.pidfd, signal).map_err(|errno| match errno {
            Errno::SRCH => ControlError::NotRunning,
            _ => ControlError::Forbidden(self.pid),
        })
    }

    /// Tells it to stop, and returns when it has ended: its port, its lock and its pidfile are free then. It is not killed when it does
    /// not: what it would lose is not known here.
    ///
    /// # Errors
    /// [`ControlError::Lasts`], [`ControlError::Forbidden`], or what poll(2) reports.
    pub fn stop(self, patience: Duration) -> Result<(), ControlError> {
        match self.signal(Signal::TERM) {
            Ok(()) => {}
            // That is what was wanted.
            Err(ControlError::NotRunning) => return Ok(()),
            Err(error) => return Err(error),
        }
        match poll::until(&mut [poll::readable(&self.pidfd)], Some(Instant::now() + patience)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ControlError::Lasts(self.pid, patience)),
            Err(error) => Err(ControlError::Io(PathBuf::from("/proc").join(self.pid.to_string()), error)),
        }
    }
}

/// The daemon's number; longer content than a number and a newline is none.
fn named(content: &[u8]) -> Option<Pid> {
    let digits = content.strip_suffix(b"\n").unwrap_or(content);
    if digits.is_empty() || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: i32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    // 1 is init: no daemon that has put itself into the background.
    Pid::from_raw(number).filter(|_| number > 1)
}

/// As much as there can be, and one more; read in one piece from the beginning.
fn content(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = [0; "2147483647\n".len() + 1];
    let length = file.read_at(&mut buffer, 0)?;
    Ok(buffer[..length].to_vec())
}

/// A pidfd can be read from the end of its process on, also when nobody has waited for that yet.
fn has_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    poll::until(&mut [poll::readable(pidfd)], Some(Instant::now()))
}

/// Who has a pidfile's lock.
enum Holder {
    /// The process in question.
    It,
    /// Somebody else, or nobody.
    NotIt,
    /// The process in question is not to be looked into.
    Hidden,
}

/// Whether a process has a descriptor of this file whose description holds a lock of flock(2).
fn holder(pid: Pid, file: &File) -> io::Result<Holder> {
    let wanted = file.metadata()?;
    let process = PathBuf::from(format!("/proc/{pid}"));
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else { return Ok(Holder::Hidden) };
    for descriptor in descriptors {
        // One that is closed meanwhile is not the pidfile's.
        let Ok(descriptor) = descriptor else { continue };
        let is_it = |it: &std::fs::Metadata| (it.dev(), it.ino()) == (wanted.dev(), wanted.ino());
        if !std::fs::metadata(descriptor.path()).is_ok_and(|it| is_it(&it)) {
            continue;
        }
        let info = std::fs::read_to_string(process.join("fdinfo").join(descriptor.file_name()));
        if info.is_ok_and(|info| info.lines().any(is_lock)) {
            return Ok(Holder::It);
        }
    }
    Ok(Holder::NotIt)
}

/// As in "lock: 1: FLOCK  ADVISORY  WRITE 4711 fe:00:10010872 0 EOF". The number is of whoever took it, as seen from here: 0 for a
/// launcher that has ended.
fn is_lock(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("lock:") && words.clone().any(|word| word == "FLOCK") && words.any(|word| word == "WRITE")
}

/// Whether anybody has the lock. To try is to have it for an instant, where nobody has; a start at that instant finds it taken. No
/// other way tells in a pid namespace.
fn is_locked(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => rustix::fs::flock(file, FlockOperation::Unlock).map(|()| false).map_err(io::Error::from),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pidfile::{Claim, Pidfile};
    use crate::scratch::Scratch;
    use std::process::{Child, Command, Stdio};

    /// A process that is nobody's daemon, and has this file open, if any.
    fn bystander(open: Stdio) -> Child {
        Command::new("sleep").arg("1000").stdin(open).spawn().expect("spawn")
    }

    fn pid_of(child: &Child) -> Pid {
        Pid::from_child(child)
    }

    fn end(mut child: Child) {
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    #[test]
    fn a_number_is_believed_only_if_it_is_nothing_else() {
        let check = |content: &str, want: Option<i32>| {
            assert_eq!(named(content.as_bytes()).map(Pid::as_raw_pid), want, "{content:?}");
        };
        check("42\n", Some(42));
        check("42", Some(42));
        check("2147483647\n", Some(i32::MAX));
        let wrong = [
            "",
            "\n",
            "0\n",
            "1\n",
            "-5\n",
            "+42\n",
            "12x\n",
            "042\n",
            "42 \n",
            "42\n\n",
            "4\n2",
            "2147483648\n",
            "\u{664}\n",
        ];
        wrong.iter().for_each(|wrong| check(wrong, None));
    }

    #[test]
    fn the_holder_of_the_lock_is_alive_and_nobody_else_is() {
        let scratch = Scratch::new("control");
        let path = scratch.path().join("pid");
        assert!(matches!(search(&path).expect("search"), Found::Absent));
        let own = Pidfile::create(&path).expect("create");
        let found = search(&path).expect("search");
        assert!(matches!(&found, Found::Alive(it) if it.pid() == rustix::process::getpid()), "{found:?}");
        drop(own);
        assert!(matches!(search(&path).expect("search"), Found::Foreign(_)), "it lives and does not hold it any more");
        std::fs::write(&path, "").expect("write");
        assert!(matches!(search(&path).expect("search"), Found::Emptied));
    }

    #[test]
    fn a_stranger_with_the_number_is_foreign_even_while_a_start_holds_the_lock_and_it_reads_the_file() {
        let scratch = Scratch::new("control-stranger");
        let path = scratch.path().join("pid");
        std::fs::write(&path, "").expect("write");
        let stranger = bystander(File::open(&path).expect("open").into());
        std::fs::write(&path, format!("{}\n", stranger.id())).expect("write");
        let _claim = Claim::take(&path).expect("nobody holds it");
        assert!(matches!(search(&path).expect("search"), Found::Foreign(pid) if pid == pid_of(&stranger)));
        assert!(matches!(find(&path), Err(ControlError::NotRunning)));
        end(stranger);
    }

    #[test]
    fn the_dead_are_stale_waited_for_or_not() {
        let scratch = Scratch::new("control-dead");
        let path = scratch.path().join("pid");
        let mut dead = bystander(Stdio::null());
        std::fs::write(&path, format!("{}\n", dead.id())).expect("write");
        dead.kill().expect("kill");
        let pidfd = pidfd_open(pid_of(&dead), PidfdFlags::empty()).expect("not waited for");
        poll::until(&mut [poll::readable(&pidfd)], None).expect("poll");
        assert!(matches!(search(&path).expect("search"), Found::Stale), "a zombie");
        dead.wait().expect("wait");
        assert!(matches!(search(&path).expect("search"), Found::Stale));
        std::fs::write(&path, "12x\n").expect("write");
        assert!(matches!(search(&path).expect("search"), Found::Stale));
    }

    #[test]
    fn what_is_no_file_is_neither_waited_for_nor_followed() {
        let scratch = Scratch::new("control-irregular");
        let [fifo, link, directory] = ["fifo", "link", "directory"].map(|name| scratch.path().join(name));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        let _own = Pidfile::create(&scratch.path().join("pid")).expect("create");
        std::os::unix::fs::symlink("pid", &link).expect("symlink");
        std::fs::create_dir(&directory).expect("mkdir");
        for path in [fifo, link, directory] {
            assert!(matches!(search(&path).expect("search"), Found::NotRegular), "{}", path.display());
            assert!(matches!(find(&path), Err(ControlError::NotRegular(_))));
        }
    }

    #[test]
    fn only_an_exclusive_lock_of_flock_is_a_daemons() {
        assert!(is_lock("lock:\t1: FLOCK  ADVISORY  WRITE 0 fe:00:10010872 0 EOF"));
        assert!(!is_lock("lock:\t1: FLOCK  ADVISORY  READ 0 fe:00:10010872 0 EOF"));
        assert!(!is_lock("lock:\t1: POSIX  ADVISORY  WRITE 4711 fe:00:10010872 0 EOF"));
        assert!(!is_lock("flags:\t02100001"));
    }

    #[test]
    fn a_process_that_does_not_end_is_told_of_and_lives() {
        let mut deaf = Command::new("sleep");
        // SAFETY: signal(2) is async-signal-safe; what is ignored stays so through execve(2).
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut deaf, || {
                libc::signal(libc::SIGTERM, libc::SIG_IGN);
                Ok(())
            });
        }
        let deaf = deaf.arg("1000").spawn().expect("spawn");
        let pidfd = pidfd_open(pid_of(&deaf), PidfdFlags::empty()).expect("it lives");
        let error = Running { pid: pid_of(&deaf), pidfd }.stop(Duration::from_millis(5)).expect_err("it is deaf");
        assert!(matches!(error, ControlError::Lasts(..)), "{error}");
        end(deaf);
    }

    #[test]
    fn whether_anybody_holds_the_lock_is_told_without_keeping_it() {
        let scratch = Scratch::new("control-locked");
        let path = scratch.path().join("pid");
        let own = Pidfile::create(&path).expect("create");
        let file = File::open(&path).expect("open");
        assert!(is_locked(&file).expect("try"));
        drop(own);
        assert!(!is_locked(&file).expect("try"));
        Claim::take(&path).expect("it was not kept");
    }
}
