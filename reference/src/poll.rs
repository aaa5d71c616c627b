//! Waiting for descriptors with a deadline: poll(2) that survives signals.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

/// A descriptor to wait on until it can be read (data, EOF, hangup or error).
pub fn readable<Fd: AsFd>(fd: &Fd) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::IN)
}

/// A descriptor to wait on until it can be written (or has failed).
pub fn writable<Fd: AsFd>(fd: &Fd) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::OUT)
}

/// A descriptor to wait on until it can be read or written.
pub fn both<Fd: AsFd>(fd: &Fd) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::IN | PollFlags::OUT)
}

/// A descriptor that must not be waited on now; keeps the positions of the others in a poll set.
///
/// poll(2) would skip a negative descriptor; with typed descriptors the same effect is to ask for no event. Use it only for
/// descriptors that cannot hang up, because hangups are always reported.
pub fn ignored(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::empty())
}

/// Whether poll(2) reported anything for this entry.
pub fn fired(entry: &PollFd<'_>) -> bool {
    !entry.revents().is_empty()
}

/// Waits until one entry fires (`true`) or the deadline on CLOCK_MONOTONIC passes (`false`); `None` waits for ever.
///
/// An interrupted wait goes on with what is left of the time (signal(7), "Interruption of system calls": poll is never
/// restarted by the kernel).
///
/// # Errors
/// What poll(2) reports, except EINTR.
pub fn until(entries: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        match rustix::event::poll(entries, left.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The duration as the kernel wants it.
fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends_at_the_deadline_and_eof_counts_as_readable() {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let soon = Instant::now() + Duration::from_millis(5);
        assert!(!until(&mut [readable(&reader)], Some(soon)).expect("poll"));
        assert!(Instant::now() >= soon);
        drop(writer);
        assert!(until(&mut [readable(&reader)], None).expect("poll"));
    }
}
