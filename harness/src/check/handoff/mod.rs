//! New connections during an upgrade.

pub mod answer_gap;
pub mod backlog_kept;
pub mod backlog_size_kept;
pub mod binary_replaced;
pub mod config_test_harmless;
pub mod every_listener;
mod further;
pub mod half_open_kept;
pub mod listener_continuity;
pub mod listener_set_changes;
pub mod log_continuous;
pub mod no_group_zombie;
pub mod no_refused;
pub mod no_stall;
pub mod old_stops_accepting;
pub mod took_over;
pub mod unix_path_kept;
pub mod watch_triggered;
