//! Connections that never end: what a drain deadline is for.

use crate::event::What;
use crate::ready;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};

impl Stage<'_> {
    /// Opens connections and sends half a request on each; they are kept until the stop.
    pub(super) fn hold(&mut self, connections: u32) -> Result<(), RunError> {
        let limit = self.plan.target.deadlines.request;
        let endpoint = &self.plan.target.endpoints[0];
        let mut opened = 0;
        for _ in 0..connections {
            match ready::half_request(self.sandbox.netns(), endpoint, limit) {
                Ok(stream) => {
                    self.held.push(stream);
                    opened += 1;
                }
                Err(error) => self.action_failed("hold", &format!("{error:?}")),
            }
        }
        // An empty queue says that they were accepted: they are the old generation's.
        let accepted = || yes(self.listeners().is_ok_and(|rows| rows.iter().all(|row| row.queued == 0)));
        if self.within(limit, accepted)? {
            self.sink.put_at(self.clock.now(), What::Held { connections: opened });
        } else {
            self.deadline_passed("accepting held connections", limit);
        }
        Ok(())
    }

    /// Closes them.
    pub(super) fn release(&mut self) -> Result<(), RunError> {
        self.held.clear();
        Ok(())
    }
}
