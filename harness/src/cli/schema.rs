//! `unbroken schema`: the JSON Schema of a file.

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::output::say;
use crate::summary::Exit;
use crate::{expectation, manifest, scenario};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Which file
    #[arg(value_enum, default_value_t)]
    file: File,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum File {
    /// A target's manifest.
    #[default]
    Manifest,
    /// A scenario.
    Scenario,
    /// The known failures of a target.
    Expectations,
}

impl Schema {
    /// Prints it.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let schema = match self.file {
            File::Manifest => manifest::schema(),
            File::Scenario => scenario::schema(),
            File::Expectations => expectation::schema(),
        };
        say(&format!("{schema:#}\n"))?;
        Ok(Exit::AsExpected)
    }
}
