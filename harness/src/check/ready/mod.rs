//! Readiness and exit status.

pub mod at_return;
pub mod bounded;
pub mod failure_reported;
pub mod foreground_stays;
pub mod not_early;
pub mod notify_fd;
pub mod notify_once;
pub mod notify_reload;
pub mod stale_listen_pid;
