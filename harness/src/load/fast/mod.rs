//! Full speed, or a rate: many connections on one thread, to one address, until the time is over.
//!
//! Where [`Load`](super::Load) plays the clients of a restart pattern by pattern, this driver asks one thing as often as it can, or as
//! often as it is told to. `epoll` wakes one loop; each connection is a state machine of its own (`slot`) that takes nothing from the
//! heap once its first request is over; a request that fails gets the same class, by the same table, as in every other load of ours.
//! `wire` is what carries them, TCP or a UNIX socket. `books` counts what ended and how long it took, and knows how late we were ourselves.
//!
//! Closed loop: each connection sends its next request when the answer before has come: the rate is the server's. Open loop: requests
//! have instants of their own, and latency counts from there, whatever the server does meanwhile (Gil Tene, "How NOT to Measure
//! Latency").

mod books;
mod driver;
mod slot;
mod wire;

pub use driver::{DriveError, drive};
