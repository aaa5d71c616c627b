//! Where observers stand.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::clock::Interval;
use crate::event::{Sink, What};
use crate::kernel::clock::Clock;
use crate::wait::Stop;

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

    /// Makes a fault part of the history, now.
    pub(super) fn fault(&self, observer: &str, fault: impl Into<String>) {
        let what = What::ObserverFault { observer: observer.to_owned(), fault: fault.into() };
        self.sink.put_at(self.clock.now(), what);
    }
}
