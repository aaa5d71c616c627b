//! Signals, logs, ending.

pub mod nothing_left;
pub mod term_clean;
