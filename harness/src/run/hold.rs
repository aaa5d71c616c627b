//! Connections that never end: what a drain deadline is for.

use std::time::Duration;

use crate::clock::{Interval, Nanos};
use crate::event::{HeldChange, What};
use crate::id::UpgradeId;
use crate::ready::HalfRequest;
use crate::run::daemon::answer;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};

/// A connection with half a request on it.
#[derive(Debug)]
pub(super) struct Held {
    half: HalfRequest,
    /// When it was last known to be open.
    seen: Nanos,
}

impl Stage<'_> {
    /// Opens connections and sends half a request on each; they are kept until the stop.
    pub(super) fn hold(&mut self, connections: u32) -> Result<(), RunError> {
        let (opened, accepted) = self.half_requests("hold", connections)?;
        let seen = self.clock.now();
        if accepted {
            let connections = u32::try_from(opened.len()).expect("no more than were asked for");
            self.sink.put_at(seen, What::Held { connections });
        }
        self.held.extend(opened.into_iter().map(|half| Held { half, seen }));
        Ok(())
    }

    /// Watches the held connections until they have all ended, at most until the old generation must be gone. The last one
    /// sends the rest of its request so long before the target may cut it.
    pub(super) fn watch_held(&mut self, before_cut: Duration) -> Result<(), RunError> {
        let deadlines = self.plan.target.deadlines;
        let triggered = self.last_upgrade.as_ref().and_then(|before| Some((before.id, before.triggered?)));
        let (Some((upgrade, triggered)), Some(least)) = (triggered, deadlines.drain_least) else { return Ok(()) };
        let complete_at = triggered.plus(least.saturating_sub(before_cut));
        let mut open: Vec<(u32, Held)> = (1..).zip(std::mem::take(&mut self.held)).collect();
        let mut latecomer = open.last().map(|(number, _)| *number);
        let all_ended = self.within(least + deadlines.drain, || {
            open.retain_mut(|(number, held)| !self.has_ended(upgrade, *number, held));
            if latecomer.is_some() && self.clock.now() >= complete_at {
                let still_open = open.last_mut().filter(|(number, _)| Some(*number) == latecomer);
                if let Some((number, held)) = still_open {
                    self.complete_late(upgrade, *number, held, before_cut + deadlines.answer);
                    open.pop();
                }
                latecomer = None;
            }
            yes(open.is_empty())
        })?;
        if !all_ended {
            for (connection, held) in open {
                let what = What::HeldConnection { upgrade, connection, change: HeldChange::Open };
                self.sink.put_at(held.seen, what);
                self.held.push(held);
            }
        }
        Ok(())
    }

    /// Looks at a held connection, and tells when it has ended.
    fn has_ended(&self, upgrade: UpgradeId, connection: u32, held: &mut Held) -> bool {
        let now = self.clock.now();
        let Some(end) = held.half.end(&self.plan.target.endpoints[0]) else {
            held.seen = now;
            return false;
        };
        let what = What::HeldConnection { upgrade, connection, change: HeldChange::Ended(end) };
        self.sink.put(Interval::new(held.seen, self.clock.now()), what);
        true
    }

    /// Sends the rest of its request and waits for the answer.
    fn complete_late(&self, upgrade: UpgradeId, connection: u32, held: &mut Held, limit: Duration) {
        let endpoint = &self.plan.target.endpoints[0];
        let tell = |at, change| self.sink.put(at, What::HeldConnection { upgrade, connection, change });
        let began = self.clock.now();
        let probe = held.half.complete(endpoint, limit, || {
            tell(Interval::new(began, self.clock.now()), HeldChange::Completed);
        });
        tell(Interval::new(began, self.clock.now()), HeldChange::Answered(answer(probe)));
    }

    /// So many connections with half a request on each, and whether they were all accepted.
    pub(super) fn half_requests(&self, action: &str, connections: u32) -> Result<(Vec<HalfRequest>, bool), RunError> {
        let limit = self.plan.target.deadlines.request;
        let endpoint = &self.plan.target.endpoints[0];
        let mut opened = Vec::new();
        for _ in 0..connections {
            match HalfRequest::open(self.clients_netns(), endpoint, limit) {
                Ok(half) => opened.push(half),
                Err(error) => self.action_failed(action, &format!("{error:?}")),
            }
        }
        // An empty queue says that they were accepted: they are the old generation's.
        let accepted = || yes(self.listeners().is_ok_and(|rows| rows.iter().all(|row| row.queued == 0)));
        let accepted = self.within(limit, accepted)?;
        if !accepted {
            self.deadline_passed("accepting held connections", limit);
        }
        Ok((opened, accepted))
    }

    /// Closes them.
    pub(super) fn release(&mut self) -> Result<(), RunError> {
        self.held.clear();
        Ok(())
    }
}
