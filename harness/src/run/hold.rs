//! Connections that never end: what a drain deadline is for.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use crate::clock::{Interval, Nanos};
use crate::event::{HeldChange, HeldEnd, What};
use crate::id::UpgradeId;
use crate::ready;
use crate::run::daemon::answer;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};

/// A connection with half a request on it; it does not block.
#[derive(Debug)]
pub(super) struct HeldStream {
    stream: TcpStream,
    /// When it was last known to be open.
    seen: Nanos,
}

impl HeldStream {
    /// How it has ended, if it has.
    fn end(&self) -> Option<HeldEnd> {
        match self.stream.peek(&mut [0]) {
            Ok(0) => Some(HeldEnd::Closed),
            Ok(_) => Some(HeldEnd::Answered),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(HeldEnd::Reset),
        }
    }
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
        for stream in opened {
            stream.set_nonblocking(true)?;
            self.held.push(HeldStream { stream, seen });
        }
        Ok(())
    }

    /// Watches the held connections until they have all ended, at most until the old generation must be gone. The last one
    /// sends the rest of its request so long before the target may cut it.
    pub(super) fn watch_held(&mut self, before_cut: Duration) -> Result<(), RunError> {
        let deadlines = self.plan.target.deadlines;
        let triggered = self.last_upgrade.as_ref().and_then(|before| Some((before.id, before.triggered?)));
        let (Some((upgrade, triggered)), Some(least)) = (triggered, deadlines.drain_least) else { return Ok(()) };
        let complete_at = triggered.plus(least.saturating_sub(before_cut));
        let mut open: Vec<(u32, HeldStream)> = (1..).zip(std::mem::take(&mut self.held)).collect();
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
    fn has_ended(&self, upgrade: UpgradeId, connection: u32, held: &mut HeldStream) -> bool {
        let now = self.clock.now();
        let Some(end) = held.end() else {
            held.seen = now;
            return false;
        };
        let what = What::HeldConnection { upgrade, connection, change: HeldChange::Ended(end) };
        self.sink.put(Interval::new(held.seen, self.clock.now()), what);
        true
    }

    /// Sends the rest of its request and waits for the answer.
    fn complete_late(&self, upgrade: UpgradeId, connection: u32, held: &mut HeldStream, limit: Duration) {
        let endpoint = &self.plan.target.endpoints[0];
        let tell = |at, change| self.sink.put(at, What::HeldConnection { upgrade, connection, change });
        let began = self.clock.now();
        let probe = match held.stream.set_nonblocking(false) {
            Ok(()) => ready::rest_of_request(&mut held.stream, endpoint, limit, || {
                tell(Interval::new(began, self.clock.now()), HeldChange::Completed);
            }),
            Err(error) => ready::Probe::Silent { reason: error.to_string() },
        };
        tell(Interval::new(began, self.clock.now()), HeldChange::Answered(answer(probe)));
    }

    /// So many connections with half a request on each, and whether they were all accepted.
    pub(super) fn half_requests(&self, action: &str, connections: u32) -> Result<(Vec<TcpStream>, bool), RunError> {
        let limit = self.plan.target.deadlines.request;
        let endpoint = &self.plan.target.endpoints[0];
        let mut opened = Vec::new();
        for _ in 0..connections {
            match ready::half_request(self.sandbox.netns(), endpoint, limit) {
                Ok(stream) => opened.push(stream),
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
