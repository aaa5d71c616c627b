//! Descriptors that a daemon must not keep.

pub mod close_on_exec;
pub mod closed_stdio_start;
pub mod launcher_eof;
pub mod none_inherited;
pub mod restart_beside_helper;
pub mod stdio_detached;
pub mod stdio_usable;
