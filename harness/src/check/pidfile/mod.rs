//! The pidfile and whom it names.

pub mod format;
pub mod own_pid;
pub mod present_at_return;
pub mod removed_on_stop;
pub mod upgrade_always_valid;
