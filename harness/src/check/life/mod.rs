//! Signals, logs, ending.

pub mod hup_survives;
pub mod log_append;
pub mod log_mode;
pub mod no_zombies;
pub mod nothing_left;
pub mod pid_one;
pub mod rebind_at_once;
pub mod term_clean;
