//! Where observations come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use super::What;
use crate::clock::{Interval, Nanos};

/// Where sources hand their observations in. A full channel never blocks the source: it is counted and makes the run
/// `error`.
#[derive(Debug, Clone)]
pub struct Sink {
    sender: SyncSender<(Interval, What)>,
    lost: Arc<AtomicU64>,
    starved_ms: Arc<AtomicU64>,
}

impl Sink {
    /// A sink in front of a recorder's channel.
    #[must_use]
    pub fn new(sender: SyncSender<(Interval, What)>) -> Sink {
        Sink { sender, lost: Arc::default(), starved_ms: Arc::default() }
    }

    /// Hands one observation in.
    pub fn put(&self, at: Interval, what: What) {
        if let What::Starved { waited_ms, .. } = &what {
            self.starved_ms.fetch_add(*waited_ms, Ordering::Relaxed);
        }
        match self.sender.try_send((at, what)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The same for something stamped at one instant.
    pub fn put_at(&self, at: Nanos, what: What) {
        self.put(Interval::at(at), what);
    }

    /// For how long processes of the target have lacked a processor until now, one after the other (`What::Starved`).
    #[must_use]
    pub fn starved(&self) -> Duration {
        Duration::from_millis(self.starved_ms.load(Ordering::Relaxed))
    }

    /// How many observations found the channel full or closed.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
