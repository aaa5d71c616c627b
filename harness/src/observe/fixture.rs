//! For tests of observers: a vantage whose events can be taken.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::vantage::Vantage;
use crate::clock::Interval;
use crate::event::{Sink, What};
use crate::kernel::clock::Clock;
use crate::wait::{Look, Stop, until};

pub(super) struct Fixture {
    vantage: Vantage,
    events: Receiver<(Interval, What)>,
}

impl Fixture {
    pub(super) fn new(netns: Option<Arc<OwnedFd>>) -> Fixture {
        let (sender, events) = sync_channel(10_000);
        let stop = Stop::new().expect("eventfd");
        Fixture { vantage: Vantage { sink: Sink::new(sender), clock: Clock::start(), stop, netns }, events }
    }

    pub(super) fn vantage(&self) -> Vantage {
        self.vantage.clone()
    }

    /// What was put until now.
    pub(super) fn take(&self) -> Vec<(Interval, What)> {
        self.events.try_iter().collect()
    }

    /// Waits until `pick` finds its event; everything before it is dropped.
    pub(super) fn find<T>(&self, mut pick: impl FnMut(Interval, What) -> Option<T>) -> T {
        let never = Stop::new().expect("eventfd");
        let look = || match self.events.try_iter().find_map(|(at, what)| pick(at, what)) {
            Some(found) => Look::Yes(found),
            None => Look::<T, String>::NotYet,
        };
        until(Duration::from_secs(30), Duration::from_millis(1), &never, look).expect("the event comes")
    }

    /// Asks the stop.
    pub(super) fn stop(&self) {
        self.vantage.stop.ask();
    }
}
