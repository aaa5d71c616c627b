//! The side of a target's clients, where it has a network namespace of its own; and the faults of the path between the two.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use thiserror::Error;

use crate::event::{PathFault, PathMet};
use crate::kernel::namespace::{NamespaceError, inside_netns};
use crate::kernel::nf_tables::path::{Fate, PathFilter};
use crate::kernel::tbf::Shaper;
use crate::kernel::veth::{self, TO_CLIENTS, TO_TARGET, VethError};

/// Why there is no such side, or no fault.
#[derive(Debug, Error)]
pub enum ClientsError {
    /// The two sides could not be joined.
    #[error(transparent)]
    Join(#[from] VethError),
    /// A side could not be entered.
    #[error(transparent)]
    Enter(#[from] NamespaceError),
    /// The kernel has no such fault, or does not end it.
    #[error("{action}")]
    Fault {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A network namespace joined to a target's by a veth. It ends with this and with all that was begun in it; the pair of
/// interfaces ends with either side, and with it what was done to the path.
#[derive(Debug)]
pub struct Clients {
    netns: OwnedFd,
    target: OwnedFd,
}

/// A fault of the path.
#[derive(Debug)]
pub enum Disturbance {
    /// What arrives at the target is lost, and what arrives at its clients.
    Lost(PathFilter, PathFilter),
    /// Connects are rejected.
    Rejected(PathFilter),
    /// What the target sends is shaped.
    Shaped(Shaper),
}

impl Clients {
    /// Makes it.
    ///
    /// # Errors
    /// Where the kernel has no veth.
    pub fn join(target: BorrowedFd<'_>) -> Result<Clients, ClientsError> {
        let failed = |source| ClientsError::Fault { action: "keep a network namespace", source };
        Ok(Clients { netns: veth::join(target)?, target: target.try_clone_to_owned().map_err(failed)? })
    }

    /// Where clients live.
    #[must_use]
    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// From now on the path to this port of the target has this fault.
    ///
    /// # Errors
    /// Where the kernel does not have what makes it.
    pub fn disturb(&self, fault: PathFault, port: u16) -> Result<Disturbance, ClientsError> {
        let failed = |action: &'static str| move |source| ClientsError::Fault { action, source };
        let filter = |netns: &OwnedFd, interface, fate| {
            let raised = inside_netns(Some(netns.as_fd()), || PathFilter::raise(interface, fate))?;
            raised.map_err(failed("filter packets (nf_tables)"))
        };
        Ok(match fault {
            // On arrival, as on a wire: who sends is told of nothing.
            PathFault::Drop => Disturbance::Lost(
                filter(&self.target, TO_CLIENTS, Fate::Lost)?,
                filter(&self.netns, TO_TARGET, Fate::Lost)?,
            ),
            PathFault::Reject => Disturbance::Rejected(filter(&self.target, TO_CLIENTS, Fate::Rejected { port })?),
            PathFault::Shape(shape) => {
                let raised = inside_netns(Some(self.target.as_fd()), || Shaper::raise(TO_CLIENTS, &shape))?;
                Disturbance::Shaped(raised.map_err(failed("shape packets (tbf)"))?)
            }
        })
    }
}

impl Disturbance {
    /// Ends it, and tells what has met it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn end(&mut self) -> Result<PathMet, ClientsError> {
        let met = match self {
            Disturbance::Lost(at_target, at_clients) => {
                let (at_target, at_clients) = (at_target.lift(), at_clients.lift());
                at_target.and_then(|to_target| Ok(PathMet::Lost { to_target, to_clients: at_clients? }))
            }
            Disturbance::Rejected(filter) => filter.lift().map(|connects| PathMet::Rejected { connects }),
            Disturbance::Shaped(shaper) => shaper.lift().map(PathMet::Shaped),
        };
        met.map_err(|source| ClientsError::Fault { action: "let packets pass again", source })
    }

    /// Takes away what is left of it, which takes its time and does nothing any more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(self) -> Result<(), ClientsError> {
        let removed = match self {
            Disturbance::Lost(at_target, at_clients) => at_target.remove().and(at_clients.remove()),
            Disturbance::Rejected(filter) => filter.remove(),
            Disturbance::Shaped(_) => Ok(()),
        };
        removed.map_err(|source| ClientsError::Fault { action: "remove a packet filter", source })
    }
}
