//! A log file, and who writes it.

use serde::{Deserialize, Serialize};

use crate::id::Pid;

/// A descriptor through which a log is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogWriter {
    /// Whose.
    pub pid: Pid,
    /// Its number.
    pub number: i32,
    /// It has O_APPEND: each write(2) goes to the end of the file, wherever that is then.
    pub append: bool,
}

/// A log at one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPortrait {
    /// Its path.
    pub path: String,
    /// Its mode; `None` when there is none.
    pub mode: Option<u32>,
    /// Who has it open for writing.
    pub writers: Vec<LogWriter>,
}
