//! Connections that never end: what a drain deadline is for.

use std::net::TcpStream;

use crate::event::What;
use crate::ready;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};

impl Stage<'_> {
    /// Opens connections and sends half a request on each; they are kept until the stop.
    pub(super) fn hold(&mut self, connections: u32) -> Result<(), RunError> {
        let (opened, accepted) = self.half_requests("hold", connections)?;
        if accepted {
            let connections = u32::try_from(opened.len()).expect("no more than were asked for");
            self.sink.put_at(self.clock.now(), What::Held { connections });
        }
        self.held.extend(opened);
        Ok(())
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
