//! Requests to an observer's thread: a channel with a bell that poll(2) hears.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{EventfdFlags, eventfd};

/// The sending end.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    sender: Sender<T>,
    bell: Arc<OwnedFd>,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Outbox { sender: self.sender.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<T> Outbox<T> {
    /// False when the other end is gone.
    #[must_use]
    pub(super) fn send(&self, request: T) -> bool {
        let sent = self.sender.send(request).is_ok();
        // Only a counter at 2^64 - 2 refuses, and then the bell rings already.
        let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
        sent
    }
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    receiver: Receiver<T>,
    bell: Arc<OwnedFd>,
}

impl<T> Inbox<T> {
    /// The next request, if one is there.
    pub(super) fn next(&self) -> Option<T> {
        // Silence the bell before looking: a request sent in between rings again.
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        self.receiver.try_recv().ok().inspect(|_| {
            // There may be more behind it.
            let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
        })
    }
}

impl<T> AsFd for Inbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// A pair.
pub(super) fn inbox<T>() -> io::Result<(Outbox<T>, Inbox<T>)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = channel();
    Ok((Outbox { sender, bell: Arc::clone(&bell) }, Inbox { receiver, bell }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait::readable_within;

    #[test]
    fn the_bell_rings_as_long_as_requests_are_there() {
        let (outbox, inbox) = inbox().expect("eventfd");
        assert!(!readable_within(inbox.as_fd(), Duration::ZERO));
        assert!(outbox.send(1) && outbox.send(2));
        for want in [1, 2] {
            assert!(readable_within(inbox.as_fd(), Duration::ZERO));
            assert_eq!(inbox.next(), Some(want));
        }
        assert_eq!(inbox.next(), None);
        assert!(!readable_within(inbox.as_fd(), Duration::ZERO));
        drop(inbox);
        assert!(!outbox.send(3));
    }
}
