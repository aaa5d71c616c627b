//! Readiness of a freshly launched target.
//!
//! [`answers`] asks once, on a connection of its own; polling it is the caller's part.

mod probe;

pub use probe::{Probe, ProbeError, answers, closed_first, half_request, rest_of_request};
