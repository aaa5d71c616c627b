//! The canary: a listener in its own process and network namespace that shows how the machine itself fares meanwhile.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::channel::{Channel, ChannelError};
use super::role::CANARY;
use crate::kernel::clone::{CloneError, Namespaces, Role, execute_self};
use crate::kernel::pidfd::Pidfd;
use crate::machine::Tier;
use crate::target::Signal;
use crate::wait;

/// Why there is no canary.
#[derive(Debug, Error)]
pub enum CanaryError {
    /// Making its process.
    #[error(transparent)]
    Clone(#[from] CloneError),
    /// Talking to it.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It could not listen.
    #[error("set the canary up")]
    SetUp(#[source] io::Error),
    /// It ended or hangs.
    #[error("hear from the canary")]
    Silent,
}

/// What the canary says once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Song {
    /// It listens on this port of 127.0.0.1. Descriptor: its network namespace.
    Listening(u16),
    /// errno.
    Failed(i32),
}

/// How long it may take to listen; it takes milliseconds.
const START: Duration = Duration::from_secs(60);

/// A minimal HTTP/1.1 server on 127.0.0.1 that answers every request 200 with `Connection: close` and the request's
/// `X-Request-Id`. Dropping it ends and reaps it; it also ends with the harness.
#[derive(Debug)]
pub struct Canary {
    /// Its other end is the canary's liveness: at EOF it ends.
    control: Channel,
    process: Pidfd,
    address: SocketAddr,
    netns: Option<OwnedFd>,
}

impl Canary {
    /// Starts one: in a network namespace of its own in tiers A and B, on the host's loopback in tier C.
    ///
    /// # Errors
    /// When its process or namespace cannot be made.
    pub fn spawn(tier: Tier) -> Result<Canary, CanaryError> {
        let (control, far) = Channel::pair()?;
        let (namespaces, argument) =
            if tier.isolates_network() { (Namespaces::NETWORK, c"isolated") } else { (Namespaces::NONE, c"bare") };
        let role = Role { name: CANARY, argument: Some(argument), namespaces, descriptors: &[far.as_fd()] };
        let process = execute_self(&role)?.pidfd;
        // From here on dropping it ends the process, on every way out.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut canary = Canary { control, process, address, netns: None };
        drop(far);
        if !wait::readable_within(canary.control.as_fd(), START) {
            return Err(CanaryError::Silent);
        }
        match canary.control.receive()?.ok_or(CanaryError::Silent)? {
            (Song::Listening(port), netns) => {
                canary.address.set_port(port);
                canary.netns = netns.into_iter().next();
                Ok(canary)
            }
            (Song::Failed(errno), _) => Err(CanaryError::SetUp(io::Error::from_raw_os_error(errno))),
        }
    }

    /// Where it listens, in its network namespace.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its network namespace; `None` in tier C.
    #[must_use]
    pub fn netns(&self) -> Option<BorrowedFd<'_>> {
        self.netns.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // It has no children and nothing to finish; once killed it can only be waited for.
        if self.process.send_signal(Signal(libc::SIGKILL)).is_ok() {
            let _ = self.process.reap();
        }
    }
}
