//! The pidfile and whom it names.

pub mod format;
pub mod mode;
pub mod no_symlink;
pub mod own_pid;
pub mod present_at_return;
pub mod removed_on_stop;
pub mod second_start_refused;
pub mod single_winner;
pub mod stale_replaced;
pub mod upgrade_always_valid;
