//! Where observers stand.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Interval;
use crate::event::{Sink, What};
use crate::kernel::clock::Clock;
use crate::wait::Stop;

/// For so long after the last event of a run its next one is expected: ten times what a handoff takes.
const EXPECTANT: Duration = Duration::from_millis(100);

/// So many times as long are the pauses between two samples while nothing happens. Most of a run is load and drain, and looking was
/// a fifth of all that a run costs.
const CALM: u32 = 4;

/// What every observer of a run shares; clones are cheap.
#[derive(Debug, Clone)]
pub struct Vantage {
    /// Where events go.
    pub sink: Sink,
    /// The run's clock.
    pub clock: Clock,
    /// Ends the observers.
    pub stop: Stop,
    /// The target's network namespace; `None`: it lives in the harness's own (tier C).
    pub netns: Option<Arc<OwnedFd>>,
}

impl Vantage {
    pub(super) fn put(&self, at: Interval, what: What) {
        self.sink.put(at, what);
    }

    /// The pause between two samples now, of an observer that takes one each `sample` while something is happening. What began
    /// it is told before: by the harness, which triggers it, or by whoever is woken by the kernel.
    pub(super) fn pace(&self, sample: Duration) -> Duration {
        let quiet = self.clock.now().since(self.sink.last_news());
        if quiet < EXPECTANT { sample } else { sample * CALM }
    }

    /// Makes a fault part of the history, now.
    pub(super) fn fault(&self, observer: &str, fault: impl Into<String>) {
        let what = What::ObserverFault { observer: observer.to_owned(), fault: fault.into() };
        self.sink.put_at(self.clock.now(), what);
    }
}
