//! Readiness and exit status.

pub mod at_return;
pub mod failure_reported;
