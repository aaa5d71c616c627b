//! Signals as a descriptor: signalfd(2), from a known mask and known dispositions.
//!
//! A daemon inherits its mask and its ignored signals from whatever launched it (execve(2)): cron, nohup or a supervisor's bug
//! would decide whether `kill -TERM` works. So both are set here, not adjusted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::defect::{Defect, Unaware};

/// What a process of this crate is asked for by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGHUP: the trigger of an upgrade.
    Upgrade,
    /// SIGTERM or SIGINT: end gracefully.
    Stop,
}

/// The signals that this process reads instead of being interrupted by them.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Sets the mask to exactly HUP, TERM and INT, resets dispositions that a launcher may have spoilt, and opens the descriptor.
    ///
    /// Call it before the first thread: threads inherit the mask, and a thread with TERM unblocked would be killed by it.
    ///
    /// # Errors
    /// What sigprocmask(2), sigaction(2) or signalfd(2) report.
    pub fn take() -> io::Result<Self> {
        Self::take_with(None)
    }

    /// The same, with a deliberate bug.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_with(defect: Option<Defect>) -> io::Result<Self> {
        if defect != Some(Defect::SignalDispositions) {
            Self::reset()?;
        }
        let mut mask = SigSet::from_iter([Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT]);
        if defect == Some(Defect::PidOne(Unaware::Stop)) {
            mask.remove(Signal::SIGTERM);
        }
        if defect == Some(Defect::AtStart) {
            mask.remove(Signal::SIGHUP);
        }
        let keeps_mask = defect == Some(Defect::SignalMask);
        let how = if keeps_mask { SigmaskHow::SIG_BLOCK } else { SigmaskHow::SIG_SETMASK };
        sigprocmask(how, Some(&mask), None)?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { fd })
    }

    /// The dispositions of every signal that matters here.
    fn reset() -> io::Result<()> {
        for (number, handler) in [
            (Signal::SIGHUP, SigHandler::SigDfl),
            (Signal::SIGTERM, SigHandler::SigDfl),
            (Signal::SIGINT, SigHandler::SigDfl),
            // With SIGCHLD ignored the kernel reaps children itself, and their exit status is lost (wait(2)).
            (Signal::SIGCHLD, SigHandler::SigDfl),
            // Breaking a lease sends SIGIO, whose default is to kill (see `watch`).
            (Signal::SIGIO, SigHandler::SigIgn),
        ] {
            // SAFETY: no handler function is installed, only the two built-in dispositions.
            unsafe { signal(number, handler) }?;
        }
        Ok(())
    }

    /// The next pending request, or `None`. Equal signals that arrive together are one (signal(7): standard signals do not queue).
    ///
    /// # Errors
    /// What read(2) on the signalfd reports.
    pub fn next(&self) -> io::Result<Option<Request>> {
        let Some(info) = self.fd.read_signal()? else {
            return Ok(None);
        };
        let hangup = u32::try_from(libc::SIGHUP).is_ok_and(|number| number == info.ssi_signo);
        Ok(Some(if hangup { Request::Upgrade } else { Request::Stop }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
