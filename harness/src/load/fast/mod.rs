//! Full speed, or a rate: many connections on one thread, or on a few, to one address, until the time is over.
//!
//! Where [`Load`](super::Load) plays the clients of a restart pattern by pattern, this driver asks one thing as often as it can, or as
//! often as it is told to. `epoll` wakes one loop; each connection is a state machine of its own (`slot`) that takes nothing from the
//! heap once its first request is over; a request that fails gets the same class, by the same table, as in every other load of ours.
//! `wire` is what carries them, TCP or a UNIX socket; `watch` is what the loop sleeps on. `books` counts what ended and how long it took,
//! and knows how late we were ourselves.
//! `team` lets several threads drive one load, each a `share` of its connections and of its schedule, and puts together what they saw.
//!
//! Closed loop: each connection sends its next request when the answer before has come: the rate is the server's. Open loop: requests
//! have instants of their own, and latency counts from there, whatever the server does meanwhile (Gil Tene, "How NOT to Measure
//! Latency"), until the kernel had the answer.

mod books;
mod driver;
mod share;
mod slot;
mod team;
mod watch;
mod wire;

pub use driver::DriveError;
pub use team::drive;
