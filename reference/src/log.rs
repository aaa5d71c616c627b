//! Lines on standard error, or in a file, each beginning with who speaks: `master`, `slave-PID`, `main-PID`, `instance-PID` or
//! `daemon`.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Who speaks.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    /// Standard error where there is none.
    file: Option<Arc<File>>,
}

impl Log {
    /// The process that holds the listener and starts generations.
    #[must_use]
    pub fn master() -> Self {
        Self::named("master")
    }

    /// This process as a generation that serves: `slave-PID`.
    #[must_use]
    pub fn slave() -> Self {
        Self::named(slave_name(std::process::id()))
    }

    /// This process as the one that serves and has no master: `main-PID`.
    #[must_use]
    pub fn main() -> Self {
        Self::named(format!("main-{}", std::process::id()))
    }

    /// This process as one of equals, of which none is the master: `instance-PID`.
    #[must_use]
    pub fn instance() -> Self {
        Self::named(format!("instance-{}", std::process::id()))
    }

    /// A process that has put itself into the background.
    #[must_use]
    pub fn daemon() -> Self {
        Self::named("daemon")
    }

    fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), file: None }
    }

    /// The same speaker, to a file that is opened for appending.
    #[must_use]
    pub fn to(self, file: File) -> Self {
        Self { file: Some(Arc::new(file)), ..self }
    }

    /// Writes one line with one write(2), so that lines of several generations on one pipe, or in one file, never mix (pipe(7),
    /// PIPE_BUF; open(2), O_APPEND).
    ///
    /// A log that cannot be written must not end the service: errors are dropped.
    pub fn line(&self, text: impl fmt::Display) {
        let line = format!("{} {text}\n", self.name);
        let _ = match &self.file {
            Some(file) => file.as_ref().write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// How a generation is called in every log line about it.
#[must_use]
pub fn slave_name(pid: u32) -> String {
    format!("slave-{pid}")
}
