//! Waiting: the only place that may sleep.
//!
//! Prefer a kernel event (pidfd, pipe EOF, inotify, netlink); then the target's notification; then [`until`], a polled
//! condition that tells *not yet* from *failed for good* from *deadline*, and stops when it is asked to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use thiserror::Error;

/// Asks threads to end, and wakes them out of their polls. Once asked, always asked.
#[derive(Debug, Clone)]
pub struct Stop {
    event: Arc<OwnedFd>,
}

impl Stop {
    /// Not asked yet.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Stop> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Stop { event: Arc::new(event) })
    }

    /// Asks. Only sets an eventfd: safe from any thread.
    pub fn ask(&self) {
        // Nobody reads the counter down, so it can only be full after 2^64 - 2 calls.
        let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
    }

    /// Whether it was asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.pause(Duration::ZERO)
    }

    /// Waits for `duration` or until asked; true when asked.
    #[must_use]
    pub fn pause(&self, duration: Duration) -> bool {
        readable_within(self.event.as_fd(), duration)
    }

    /// Readable from the moment it was asked: to poll beside other descriptors.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Waits until `fd` is readable (or hung up), at most `limit`; false when the limit passed first.
#[must_use]
pub fn readable_within(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        let timeout =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            // poll(2) fails otherwise only for a bad address or too many descriptors: neither can be here.
            Err(_) => return false,
        }
    }
}

/// What poll(2) said of one descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// There is something to read.
    pub readable: bool,
    /// The other side is gone, or the descriptor is broken; reading tells which.
    pub hung_up: bool,
}

impl Readiness {
    /// A read will not block.
    #[must_use]
    pub fn any(self) -> bool {
        self.readable || self.hung_up
    }
}

/// Waits until one of `fds` is readable or hung up, at most `limit`; what each of them is, in the same order.
#[must_use]
pub fn ready_within(fds: &[BorrowedFd<'_>], limit: Duration) -> Vec<Readiness> {
    let end = Instant::now() + limit;
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut polled, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break,
            // As in `readable_within`; nothing is known to be ready then.
            Err(_) => return vec![Readiness::default(); fds.len()],
        }
    }
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    let readiness =
        |flags: PollFlags| Readiness { readable: flags.contains(PollFlags::IN), hung_up: flags.intersects(gone) };
    polled.iter().map(|it| readiness(it.revents())).collect()
}

/// What one look at a condition gave.
#[derive(Debug)]
pub enum Look<T, E> {
    /// It holds.
    Yes(T),
    /// Not yet.
    NotYet,
    /// It can never hold any more.
    Never(E),
}

/// Why a wait ended without its condition.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WaitError<E> {
    /// It can never hold any more.
    #[error("it can no longer happen")]
    Never(E),
    /// The deadline passed.
    #[error("it did not happen within {0:?}")]
    Deadline(Duration),
    /// The harness was asked to stop.
    #[error("interrupted")]
    Stopped,
}

/// Looks until the condition holds: every `interval` at first, and then after a thirtieth of what it has lasted so far, at most
/// eight intervals. When it came to hold is thus known to about 3 %, and a long wait costs little.
///
/// # Errors
/// [`WaitError::Never`] as soon as a look says so, [`WaitError::Deadline`] after `limit`, [`WaitError::Stopped`] when
/// `stop` is asked.
pub fn until<T, E>(
    limit: Duration,
    interval: Duration,
    stop: &Stop,
    mut look: impl FnMut() -> Look<T, E>,
) -> Result<T, WaitError<E>> {
    let began = Instant::now();
    let end = began + limit;
    loop {
        match look() {
            Look::Yes(value) => return Ok(value),
            Look::Never(reason) => return Err(WaitError::Never(reason)),
            Look::NotYet => {}
        }
        if Instant::now() >= end {
            return Err(WaitError::Deadline(limit));
        }
        let pause = (began.elapsed() / 30).clamp(interval, 8 * interval);
        if stop.pause(pause.min(end.saturating_duration_since(Instant::now()))) {
            return Err(WaitError::Stopped);
        }
    }
}
