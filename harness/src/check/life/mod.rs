//! Signals, logs, ending.

pub mod nothing_left;
