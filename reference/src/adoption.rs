//! Being pid 1 of a namespace, as in a container without an init: every orphan becomes a child of this process, and nobody else
//! can wait for it (pid_namespaces(7)).
//!
//! waitpid(-1) would do, and would take the exit status of this process's own children away from whoever follows them. So whoever
//! has ended is first looked at (WNOWAIT) and then waited for by name, unless it is a child of our own.
//!
//! The other half of being pid 1 needs nothing here: a signal at its default is ignored, and [`crate::signal`] reads those that
//! matter.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

/// Readable when a child has ended, whoever's it was.
#[derive(Debug)]
pub struct Adoption {
    ended: SignalFd,
    /// Somebody may have ended who was not looked at yet.
    pending: bool,
}

impl Adoption {
    /// For pid 1; `None` for everybody else, who is given no orphans. Blocks SIGCHLD: call it after
    /// [`crate::signal::Signals::take`], which sets the mask, and before the first thread.
    ///
    /// # Errors
    /// What sigprocmask(2) or signalfd(2) report.
    pub fn take() -> io::Result<Option<Self>> {
        if std::process::id() != 1 {
            return Ok(None);
        }
        let mask = SigSet::from_iter([Signal::SIGCHLD]);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
        let ended = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        // Who ended before is no signal any more.
        Ok(Some(Self { ended, pending: true }))
    }

    /// Waits for the orphans that have ended; how many. At a child of our own it stops, as the kernel shows no other one before
    /// that is waited for: call it again then.
    ///
    /// # Errors
    /// What reading the descriptor or waitid(2) report.
    pub fn reap(&mut self, is_own: impl Fn(u32) -> bool) -> io::Result<usize> {
        while self.ended.read_signal()?.is_some() {
            self.pending = true;
        }
        let mut reaped = 0;
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while self.pending {
            let ended = match waitid(Id::All, look) {
                Ok(status) => status.pid(),
                Err(Errno::ECHILD) => None,
                Err(errno) => return Err(errno.into()),
            };
            match ended {
                None => self.pending = false,
                Some(pid) if is_own(pid.as_raw().unsigned_abs()) => break,
                Some(pid) => {
                    waitid(Id::Pid(pid), WaitPidFlag::WEXITED)?;
                    reaped += 1;
                }
            }
        }
        Ok(reaped)
    }
}

impl AsFd for Adoption {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}
