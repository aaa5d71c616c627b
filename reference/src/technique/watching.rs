//! The options by which a technique watches a file, the same for all that do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::process::Program;
use crate::watch::{Mode, Watch};

/// The part of a command line.
#[derive(Args, Clone, Debug)]
pub struct Watching {
    /// File whose change triggers an upgrade [default: the executable itself]
    #[arg(long, value_name = "PATH", conflicts_with = "no_watch")]
    pub watch: Option<PathBuf>,
    /// Upgrade on SIGHUP only
    #[arg(long, action = ArgAction::SetTrue)]
    pub no_watch: bool,
    /// How long the watched file must be quiet, so that one change is one upgrade
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub debounce_ms: u64,
}

impl Watching {
    /// When a change counts: correct.
    #[must_use]
    pub fn settled(&self) -> Mode {
        Mode::Settled(Duration::from_millis(self.debounce_ms))
    }

    /// The watch that was asked for, if any.
    ///
    /// # Errors
    /// Those of [`Watch::new`].
    pub fn open(&self, program: &Program, mode: Mode) -> io::Result<Option<Watch>> {
        let path = || self.watch.clone().unwrap_or_else(|| program.path());
        if self.no_watch { Ok(None) } else { Watch::new(&path(), mode).map(Some) }
    }
}
