//! Readiness of a freshly launched target.
//!
//! [`answers`] asks once, on a connection of its own; polling it is the caller's part.

mod echo;
mod h2;
mod half;
mod http;
mod probe;
mod unix;

pub use half::HalfRequest;
pub use probe::{NO_ANSWER, Probe, ProbeError, answers, answers_at, closed_first, inside};
