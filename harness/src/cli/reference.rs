//! `unbroken reference`: dispatch only. No code is shared with the references.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use unbroken_reference::defect;

/// Arguments of `reference`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Reference {
    /// The technique and its options: `unbroken reference --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "TECHNIQUE")]
    arguments: Vec<OsString>,
}

impl Reference {
    /// Becomes the reference server. No thread runs yet.
    pub(super) fn run(self) -> ExitCode {
        unbroken_reference::run(self.arguments)
    }
}

/// A deliberate bug, in words.
pub(super) struct Bug {
    /// What `--defect` takes.
    pub(super) name: &'static str,
    /// What goes wrong.
    pub(super) bug: &'static str,
}

/// The deliberate bugs of the references that a check must catch.
pub(super) fn bugs(check: &str) -> Vec<Bug> {
    let rows = defect::all().filter(|row| row.catches == check);
    rows.map(|row| Bug { name: row.name, bug: row.bug }).collect()
}
