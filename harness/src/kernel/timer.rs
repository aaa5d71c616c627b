//! timerfd on CLOCK_MONOTONIC (timerfd_create(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

/// A nonblocking timer that becomes readable at an absolute instant. Unlike a sleep it has no slack: it is an hrtimer.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Timer(rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Registers it with the current tokio runtime.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC: epoll takes no more.
    ///
    /// # Panics
    /// Outside of a runtime with I/O.
    pub fn register(self) -> io::Result<AsyncFd<Timer>> {
        // SAFETY: the descriptor is private to this type, which owns it, never replaces or closes it before it is
        // dropped, and always returns it from `as_raw_fd`.
        unsafe { AsyncFd::register(self) }.map_err(io::Error::from)
    }

    /// Arms it for one absolute instant, in raw CLOCK_MONOTONIC nanoseconds, and forgets any earlier one. An instant
    /// that has passed fires at once.
    ///
    /// # Errors
    /// None that a valid timer gives.
    pub fn arm(&self, monotonic: u64) -> io::Result<()> {
        // All zero would disarm it.
        let at = monotonic.max(1);
        let value = Timespec {
            tv_sec: (at / 1_000_000_000).try_into().unwrap_or(i64::MAX),
            tv_nsec: (at % 1_000_000_000).try_into().expect("below 10^9"),
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }

    /// Takes the expiry.
    ///
    /// # Errors
    /// EAGAIN when it has not expired since it was armed.
    pub fn take(&self) -> io::Result<()> {
        let mut count = [0u8; 8];
        loop {
            match rustix::io::read(&self.0, &mut count[..]) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernel::clock::monotonic;
    use crate::wait::readable_within;

    #[test]
    fn it_fires_at_its_instant_and_once() {
        let timer = Timer::new().expect("timer");
        let at = monotonic() + 5_000_000;
        timer.arm(at).expect("arm");
        assert_eq!(timer.take().expect_err("too early").kind(), io::ErrorKind::WouldBlock);
        assert!(readable_within(timer.as_fd(), Duration::from_secs(10)));
        assert!(monotonic() >= at);
        timer.take().expect("expired");
        assert_eq!(timer.take().expect_err("once").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_past_instant_fires_at_once() {
        let timer = Timer::new().expect("timer");
        timer.arm(0).expect("arm");
        assert!(readable_within(timer.as_fd(), Duration::from_secs(10)));
    }
}
