//! Load: an open-loop schedule over raw sockets, one state machine per connection.
//!
//! No pool, no retry, and the first error of each connection is kept. [`Load`] is the owner's side; on its thread the
//! conductor turns the ticks of each schedule into exchanges, which travel on connections; a failure gets its class
//! from what the kernel said at that instant, and the ledger accounts for every request that was meant.

mod answer;
#[cfg(feature = "app-view")]
pub mod application;
mod body;
mod conductor;
mod connection;
mod crew;
mod driver;
mod echo;
mod exchange;
mod failure;
pub mod fast;
mod flow;
mod frame;
mod h2;
pub mod journal;
mod kept;
mod ledger;
mod protocol;
mod schedule;
mod tickets;
mod tls;
mod websocket;

#[cfg(test)]
mod truth;

pub use driver::{Load, LoadConfig, LoadError, LoadRecord, Parked};
