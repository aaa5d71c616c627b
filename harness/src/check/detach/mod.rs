//! Becoming a daemon: free of the launcher, its session and its terminal.

pub mod cannot_acquire_tty;
pub mod cwd;
pub mod from_any_launcher;
pub mod new_session;
pub mod no_tty;
pub mod orphaned;
pub mod survives_hangup;
