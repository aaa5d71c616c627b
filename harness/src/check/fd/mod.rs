//! Descriptors that a daemon must not keep.

pub mod launcher_eof;
pub mod none_inherited;
pub mod stdio_detached;
