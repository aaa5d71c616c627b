//! The pidfile and whom it names.

pub mod upgrade_always_valid;
