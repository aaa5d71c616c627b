//! What a launcher hands down without meaning to, and who believes it.

pub mod environment;
pub mod exit_code_under_sigchld_ignore;
pub mod false_mark;
pub mod privileges;
pub mod signal_dispositions;
pub mod signal_mask;
pub mod sigpipe;
pub mod threads;
pub mod umask;
