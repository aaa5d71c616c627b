//! Draining: a generation that has been replaced finishes its work, announces the end, and goes.
//!
//! The signal to drain must reach every connection thread while it waits for its client. A pipe does that: all threads poll its
//! read end, and closing the write end wakes all of them at once and stays visible to those that look later. A thread that has
//! seen it must stop polling it, else it spins.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;

/// How long a draining generation waits for its clients; both count from the beginning of the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A kept connection without a request is closed after this time. Long enough for a client to send the request that it was
    /// about to send: that one is answered, with `Connection: close`.
    pub idle_grace: Duration,
    /// Whatever is left is cut then.
    pub timeout: Duration,
}

/// The drain of one generation, shared by its connections.
#[derive(Debug)]
pub struct Drain {
    patience: Patience,
    begun: OnceLock<Instant>,
    /// Closed when the drain begins.
    gate: Mutex<Option<OwnedFd>>,
    signal: OwnedFd,
    live: AtomicUsize,
    /// Counts connections that have ended, so that the accepting thread can wait for the last one.
    ended: OwnedFd,
}

impl Drain {
    /// Not begun, no connections.
    ///
    /// # Errors
    /// What pipe(2) or eventfd(2) report.
    pub fn new(patience: Patience) -> io::Result<Arc<Self>> {
        let (signal, gate) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let ended = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (begun, live) = (OnceLock::new(), AtomicUsize::new(0));
        Ok(Arc::new(Self { patience, begun, gate: Mutex::new(Some(gate)), signal, live, ended }))
    }

    /// Begins the drain; later calls change nothing.
    pub fn begin(&self) {
        // Time first: whoever is woken by the pipe must find it.
        self.begun.get_or_init(Instant::now);
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// When it began; `None` before.
    #[must_use]
    pub fn begun_at(&self) -> Option<Instant> {
        self.begun.get().copied()
    }

    /// When idle kept connections are closed; `None` before the drain.
    #[must_use]
    pub fn idle_until(&self) -> Option<Instant> {
        self.begun.get().map(|begun| *begun + self.patience.idle_grace)
    }

    /// When the rest is cut; `None` before the drain.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.begun.get().map(|begun| *begun + self.patience.timeout)
    }

    /// Readable (hung up) from the beginning of the drain on.
    #[must_use]
    pub fn signal(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }

    /// Number of connections that are open.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Readable when connections have ended since [`Drain::acknowledge_ended`].
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Takes back the readability of [`Drain::ended`]; look at [`Drain::live`] afterwards, not before.
    pub fn acknowledge_ended(&self) {
        let _ = rustix::io::read(&self.ended, &mut [0_u8; 8]);
    }

    /// Counts one connection until the pass is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Pass {
        self.live.fetch_add(1, Ordering::AcqRel);
        Pass { drain: Arc::clone(self) }
    }
}

/// One open connection; drop it after the socket.
#[derive(Debug)]
pub struct Pass {
    drain: Arc<Drain>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.drain.live.fetch_sub(1, Ordering::AcqRel);
        let _ = rustix::io::write(&self.drain.ended, &1_u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::{readable, until};

    fn drain() -> Arc<Drain> {
        Drain::new(Patience { idle_grace: Duration::from_secs(1), timeout: Duration::from_secs(5) }).expect("drain")
    }

    #[test]
    fn the_signal_reaches_everyone_and_stays() {
        let drain = drain();
        let now = Some(Instant::now());
        assert!(!until(&mut [readable(&drain.signal())], now).expect("poll"));
        drain.begin();
        drain.begin();
        assert!(until(&mut [readable(&drain.signal())], now).expect("poll"));
        assert!(until(&mut [readable(&drain.signal())], now).expect("poll"));
        assert!(drain.idle_until() < drain.deadline());
    }

    #[test]
    fn the_end_of_the_last_connection_is_noticed() {
        let drain = drain();
        let pass = drain.enter();
        assert_eq!(drain.live(), 1);
        drop(pass);
        assert!(until(&mut [readable(&drain.ended())], None).expect("poll"));
        drain.acknowledge_ended();
        assert_eq!(drain.live(), 0);
        assert!(!until(&mut [readable(&drain.ended())], Some(Instant::now())).expect("poll"));
    }
}
