//! Debug lines on standard error, each beginning with who speaks: `master`, `slave-PID`, `main-PID`, `instance-PID` or
//! `daemon`.

use std::fmt;
use std::io::Write;

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    name: String,
}

impl Log {
    /// The process that holds the listener and starts generations.
    #[must_use]
    pub fn master() -> Self {
        Self { name: "master".to_owned() }
    }

    /// This process as a generation that serves: `slave-PID`.
    #[must_use]
    pub fn slave() -> Self {
        Self { name: slave_name(std::process::id()) }
    }

    /// This process as the one that serves and has no master: `main-PID`.
    #[must_use]
    pub fn main() -> Self {
        Self { name: format!("main-{}", std::process::id()) }
    }

    /// This process as one of equals, of which none is the master: `instance-PID`.
    #[must_use]
    pub fn instance() -> Self {
        Self { name: format!("instance-{}", std::process::id()) }
    }

    /// A process that has put itself into the background.
    #[must_use]
    pub fn daemon() -> Self {
        Self { name: "daemon".to_owned() }
    }

    /// Writes one line with one write(2), so that lines of several generations on one pipe never mix (pipe(7), PIPE_BUF).
    ///
    /// A log that cannot be written must not end the service: errors are dropped.
    pub fn line(&self, text: impl fmt::Display) {
        let line = format!("{} {text}\n", self.name);
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// How a generation is called in every log line about it.
#[must_use]
pub fn slave_name(pid: u32) -> String {
    format!("slave-{pid}")
}
