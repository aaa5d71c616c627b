//! pidfd: a process by identity (pidfd_open(2)). A pid can be another process tomorrow, a pidfd cannot.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, WaitId, WaitIdOptions};
use thiserror::Error;

use crate::event::ExitStatus;
use crate::target::Signal;
use crate::wait;

/// A process id in the harness's own pid namespace. Not what the target sees: that is [`crate::id::Pid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPid(pub i32);

impl fmt::Display for HostPid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a call on a process failed.
#[derive(Debug, Error)]
pub enum PidfdError {
    /// ESRCH: it has ended and was reaped, or never was.
    #[error("reach the process: it no longer exists")]
    NoSuchProcess,
    /// Anything else.
    #[error("{action}")]
    Call {
        /// What was tried, with its system call.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PidfdError {
    fn new(action: &'static str, source: io::Error) -> PidfdError {
        match source.raw_os_error() {
            Some(libc::ESRCH) => PidfdError::NoSuchProcess,
            _ => PidfdError::Call { action, source },
        }
    }
}

/// A process by identity.
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
}

impl From<OwnedFd> for Pidfd {
    /// Takes a descriptor that the kernel or another process made by pidfd_open(2) or CLONE_PIDFD.
    fn from(fd: OwnedFd) -> Pidfd {
        Pidfd { fd }
    }
}

impl AsFd for Pidfd {
    /// Readable from the moment the process ended, zombie or not.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Pidfd> for OwnedFd {
    fn from(pidfd: Pidfd) -> OwnedFd {
        pidfd.fd
    }
}

impl Pidfd {
    /// The process that has this pid now, which must be that of a process, not of one of its threads.
    ///
    /// # Errors
    /// [`PidfdError::NoSuchProcess`] when there is none.
    pub fn open(pid: HostPid) -> Result<Pidfd, PidfdError> {
        let pid = rustix::process::Pid::from_raw(pid.0).ok_or(PidfdError::NoSuchProcess)?;
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Pidfd { fd }),
            Err(errno) => Err(PidfdError::new("open a process (pidfd_open)", errno.into())),
        }
    }

    /// Sends a signal (pidfd_send_signal(2)); 0 only asks whether it could be sent. A zombie takes any signal.
    ///
    /// # Errors
    /// [`PidfdError::NoSuchProcess`] once it was reaped; EPERM, EINVAL.
    pub fn send_signal(&self, signal: Signal) -> Result<(), PidfdError> {
        let no_info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: a null siginfo means what kill(2) sends.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal.0, no_info, 0 as libc::c_uint)
        };
        match sent {
            0 => Ok(()),
            _ => Err(PidfdError::new("signal a process (pidfd_send_signal)", io::Error::last_os_error())),
        }
    }

    /// It has ended (it may still be a zombie).
    #[must_use]
    pub fn has_exited(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits until it has ended, at most `limit`; false when the limit passed first.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        wait::readable_within(self.as_fd(), limit)
    }

    /// A copy of one of its descriptors (pidfd_getfd(2)), close-on-exec; it shares the open file description.
    ///
    /// # Errors
    /// EBADF when it has no such descriptor, EPERM without the right to trace it.
    pub fn getfd(&self, remote: RawFd) -> Result<OwnedFd, PidfdError> {
        rustix::process::pidfd_getfd(&self.fd, remote, PidfdGetfdFlags::empty())
            .map_err(|errno| PidfdError::new("copy a descriptor of a process (pidfd_getfd)", errno.into()))
    }

    /// Its number in our own pid namespace, as long as it lives or is a zombie: of another process once it was reaped (pidfs, in
    /// proc_pid_fdinfo(5)).
    ///
    /// # Errors
    /// [`PidfdError::NoSuchProcess`] once it was reaped, and where our namespace has no number for it.
    pub fn host_pid(&self) -> Result<HostPid, PidfdError> {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd()))
            .map_err(|source| PidfdError::Call { action: "find a process's number (fdinfo)", source })?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        pid.filter(|pid| *pid > 0).map(HostPid).ok_or(PidfdError::NoSuchProcess)
    }

    /// Sets the soft limit of its descriptors' numbers (RLIMIT_NOFILE): a new one has to be below. Those that are open stay. Gives
    /// the limit before. It must be nobody's to reap meanwhile but a process's that we hold up, or its number could be another's.
    ///
    /// # Errors
    /// [`PidfdError::NoSuchProcess`] once it has ended; those of prlimit(2): EINVAL above the hard limit.
    pub fn limit_descriptors(&self, soft: u64) -> Result<u64, PidfdError> {
        let failed = || PidfdError::new("limit a process's descriptors (prlimit)", io::Error::last_os_error());
        let HostPid(pid) = self.host_pid()?;
        if self.has_exited() {
            return Err(PidfdError::NoSuchProcess);
        }
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure outlives the call; without a new limit nothing is changed.
        if unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut before) } != 0 {
            return Err(failed());
        }
        let after = libc::rlimit { rlim_cur: soft, rlim_max: before.rlim_max };
        // SAFETY: as above; the old limit is known already.
        if unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const after, std::ptr::null_mut()) } != 0 {
            return Err(failed());
        }
        Ok(before.rlim_cur)
    }

    /// Reaps it, a child of this process that has ended or is about to. `Unknown` when it was reaped elsewhere (SIGCHLD
    /// ignored). Blocks until it has ended.
    ///
    /// # Errors
    /// Those of waitid(2) but ECHILD.
    pub fn reap(&self) -> Result<ExitStatus, PidfdError> {
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.fd.as_fd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => {
                    return Ok(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => ExitStatus::Code(code),
                        (None, Some(signal)) => ExitStatus::Signal(signal),
                        (None, None) => ExitStatus::Unknown,
                    });
                }
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CHILD) => return Ok(ExitStatus::Unknown),
                Err(errno) => return Err(PidfdError::new("reap a process (waitid)", errno.into())),
            }
        }
    }

    /// How it ended, once it was reaped by whomever (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15). `None` while it
    /// lives or is a zombie, and on an older kernel.
    #[must_use]
    pub fn exit_info(&self) -> Option<ExitStatus> {
        let mut info = Info { mask: INFO_EXIT, ..Info::default() };
        // SAFETY: the request number carries the size of `Info`, which outlives the call.
        let asked = unsafe { libc::ioctl(self.fd.as_raw_fd(), GET_INFO, &raw mut info) };
        if asked != 0 || info.mask & INFO_EXIT == 0 {
            return None;
        }
        Some(if libc::WIFEXITED(info.exit_code) {
            ExitStatus::Code(libc::WEXITSTATUS(info.exit_code))
        } else if libc::WIFSIGNALED(info.exit_code) {
            ExitStatus::Signal(libc::WTERMSIG(info.exit_code))
        } else {
            ExitStatus::Unknown
        })
    }
}

/// `struct pidfd_info` of <linux/pidfd.h>, first published size (64 bytes).
#[derive(Default)]
#[repr(C)]
struct Info {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid and the eight user and group ids.
    ids: [u32; 11],
    exit_code: i32,
}

/// PIDFD_INFO_EXIT.
const INFO_EXIT: u64 = 1 << 3;

/// PIDFD_GET_INFO: `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: libc::Ioctl = libc::_IOWR::<Info>(0xFF, 11);

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn child(script: &str) -> (std::process::Child, Pidfd) {
        let child = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::null()).spawn().expect("/bin/sh exists");
        let pid = i32::try_from(child.id()).expect("pids fit an i32");
        (child, Pidfd::open(HostPid(pid)).expect("an unreaped child keeps its pid"))
    }

    #[test]
    fn a_signal_reaches_the_process_and_its_end_is_seen() {
        let (_child, pidfd) = child("exec sleep 1000");
        assert!(!pidfd.has_exited());
        pidfd.send_signal(Signal(libc::SIGTERM)).expect("it is our child");
        assert!(pidfd.wait(Duration::from_secs(10)));
        assert_eq!(pidfd.reap().expect("it is our child"), ExitStatus::Signal(libc::SIGTERM));
        assert!(matches!(pidfd.send_signal(Signal(0)), Err(PidfdError::NoSuchProcess)));
    }

    #[test]
    fn the_status_of_a_reaped_process_is_told_where_the_kernel_can() {
        let (_child, pidfd) = child("exit 7");
        assert!(pidfd.wait(Duration::from_secs(10)));
        assert_eq!(pidfd.exit_info(), None, "a zombie was not reaped yet");
        assert_eq!(pidfd.reap().expect("it is our child"), ExitStatus::Code(7));
        assert!(matches!(pidfd.exit_info(), Some(ExitStatus::Code(7)) | None));
        assert_eq!(pidfd.reap().expect("reaped elsewhere is no error"), ExitStatus::Unknown);
    }

    #[test]
    fn its_number_is_known_until_it_was_reaped() {
        let (child, pidfd) = child("exit 0");
        assert!(pidfd.wait(Duration::from_secs(10)));
        assert_eq!(pidfd.host_pid().expect("a zombie has its number"), HostPid(child.id().cast_signed()));
        pidfd.reap().expect("it is our child");
        assert!(matches!(pidfd.host_pid(), Err(PidfdError::NoSuchProcess)));
    }

    #[test]
    fn a_process_without_descriptors_goes_on_with_those_that_it_has() {
        let (mut child, pidfd) = child("exec sleep 1000");
        let before = pidfd.limit_descriptors(3).expect("it is our child");
        assert!(before > 3);
        assert_eq!(pidfd.limit_descriptors(before).expect("it is our child"), 3);
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        assert!(matches!(pidfd.limit_descriptors(3), Err(PidfdError::NoSuchProcess)));
    }

    #[test]
    fn a_pid_without_process_is_told_apart() {
        assert!(matches!(Pidfd::open(HostPid(i32::MAX)), Err(PidfdError::NoSuchProcess)));
        assert!(matches!(Pidfd::open(HostPid(0)), Err(PidfdError::NoSuchProcess)));
    }
}
