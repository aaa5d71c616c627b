//! Handshakes that are held half done during an upgrade, and completed after it.

use std::thread;

use crate::event::What;
use crate::id::UpgradeId;
use crate::kernel::inet_diag::TcpState;
use crate::kernel::namespace::enter_netns;
use crate::kernel::nf_tables::AckFilter;
use crate::request::Pattern;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};

impl Stage<'_> {
    /// Opens connections whose last ACK is dropped: complete for the client, and half-open for the server.
    pub(super) fn half_open(&mut self, connections: u32) -> Result<(), RunError> {
        self.ensure_load()?;
        let port = self.plan.target.endpoints[0].address.port();
        let Some(netns) = self.sandbox.netns() else { return Ok(()) };
        let raised = thread::scope(|scope| {
            let raise = || -> Result<std::io::Result<AckFilter>, RunError> {
                enter_netns(netns).map_err(|error| RunError::Environment(format!("failed to {error}")))?;
                Ok(AckFilter::raise(port))
            };
            scope.spawn(raise).join()
        });
        match raised.unwrap_or_else(|_| Err(RunError::Environment("the filter's thread panicked".to_owned())))? {
            Ok(filter) => self.ack_filter = Some(filter),
            // A kernel without nf_tables: the witness says what is missing.
            Err(error) => {
                self.action_failed("half-open", &format!("no packet filter: {error}"));
                return Ok(());
            }
        }
        let Some(load) = &self.load else { return Ok(()) };
        load.half_open(connections)?;
        let limit = self.plan.target.deadlines.start;
        if !self.within(limit, || yes(load.open_connections(Pattern::HalfOpen) >= connections))? {
            self.deadline_passed("half-open", limit);
        }
        Ok(())
    }

    /// Tells how many handshakes are half done, right before the trigger. None can complete after that: the filter stands.
    pub(super) fn note_half_open(&self, upgrade: UpgradeId) -> Result<(), RunError> {
        if self.ack_filter.is_none() {
            return Ok(());
        }
        let port = self.plan.target.endpoints[0].address.port();
        let connections = self.diag.borrow_mut().connections(port)?;
        let half = connections.iter().filter(|it| it.state == TcpState::SYN_RECV).count();
        let count = u32::try_from(half).unwrap_or(u32::MAX);
        self.sink.put_at(self.clock.now(), What::HalfOpen { upgrade, count });
        Ok(())
    }

    /// Lets the ACKs through again, and the clients send their requests.
    pub(super) fn complete(&mut self) -> Result<(), RunError> {
        if let Some(filter) = self.ack_filter.take() {
            filter.lift()?;
        }
        match &self.load {
            Some(load) => Ok(load.complete()?),
            None => Ok(()),
        }
    }
}
