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
    /// End of the last observation that was news, in nanoseconds of the run's clock.
    news_at: Arc<AtomicU64>,
}

impl Sink {
    /// A sink in front of a recorder's channel.
    #[must_use]
    pub fn new(sender: SyncSender<(Interval, What)>) -> Sink {
        Sink { sender, lost: Arc::default(), starved_ms: Arc::default(), news_at: Arc::default() }
    }

    /// Hands one observation in, as news: see [`Sink::last_news`].
    pub fn put(&self, at: Interval, what: What) {
        self.news_at.fetch_max(at.not_after.0, Ordering::Relaxed);
        self.put_in_passing(at, what);
    }

    /// Hands in what happens all the time, such as a connection that waits to be accepted.
    pub fn put_in_passing(&self, at: Interval, what: What) {
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

    /// When something last happened that does not happen all the time: others may follow at once, and are worth a closer look.
    #[must_use]
    pub fn last_news(&self) -> Nanos {
        Nanos(self.news_at.load(Ordering::Relaxed))
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn what_happens_all_the_time_is_no_news_and_late_news_does_not_make_it_older() {
        let (sender, received) = sync_channel(8);
        let sink = Sink::new(sender);
        sink.put(Interval::new(Nanos(10), Nanos(20)), What::Unstalled);
        sink.put_in_passing(Interval::at(Nanos(30)), What::Unstalled);
        assert_eq!(sink.last_news(), Nanos(20));
        sink.put_at(Nanos(15), What::Unstalled);
        assert_eq!(sink.last_news(), Nanos(20));
        assert_eq!((received.try_iter().count(), sink.lost()), (3, 0));
    }
}
