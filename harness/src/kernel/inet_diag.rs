//! inet_diag (sock_diag(7)): TCP listeners and connections by netlink, and the DESTROY groups.
//!
//! Written by hand because no crate knows the DESTROY multicast groups. A dump of all listeners of a network namespace
//! costs some microseconds where `/proc/net/tcp` costs milliseconds.

mod destroy;
mod dump;
#[cfg(test)]
pub(crate) mod fresh_netns;
mod message;

pub use destroy::{DestroyEvents, Destroyed};
pub use dump::{Connection, Diag, ListenSocket};
pub use message::TcpState;
