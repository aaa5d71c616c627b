//! Readiness of a freshly launched target.
//!
//! [`answers`] asks once, on a connection of its own; polling it is the caller's part.

mod probe;
mod unix;

pub use probe::{
    NO_ANSWER, Probe, ProbeError, answers, answers_at, closed_first, half_request, inside, rest_of_request,
};
