//! The pidfile and whom it names.

pub mod after_failed_upgrade;
pub mod format;
pub mod mode;
pub mod never_hits_stranger;
pub mod no_symlink;
pub mod own_pid;
pub mod present_at_return;
pub mod relative_path;
pub mod removed_on_stop;
pub mod second_start_refused;
pub mod single_winner;
pub mod stale_replaced;
pub mod status_read_only;
pub mod successor_kept;
pub mod upgrade_always_valid;
