//! `unbroken selftest`: proof that every check can fail.

use anyhow::anyhow;
use clap::Args;

use super::failure::Failure;
use super::options::{ReportOptions, RunOptions};
use crate::summary::Exit;

/// Arguments of `selftest`.
#[derive(Debug, Args)]
pub(super) struct Selftest {
    /// Defects, targets or checks to test (default: all)
    #[arg(value_name = "ROW")]
    only: Vec<String>,
    /// Let a processor hog run beside: no verdict may depend on a quiet machine
    #[arg(long)]
    hog: bool,
    #[command(flatten)]
    how: RunOptions,
    #[command(flatten)]
    reports: ReportOptions,
}

impl Selftest {
    /// What standard error may be coloured.
    pub(super) fn reports(&self) -> &ReportOptions {
        &self.reports
    }

    /// Runs the matrix and reports.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let (rows, how) = (self.only.len(), &self.how);
        Err(Failure::Environment(anyhow!("test {rows} rows, hog {}, {how:?}: no engine in this build", self.hog)))
    }
}
