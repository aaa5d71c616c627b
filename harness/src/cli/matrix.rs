//! `unbroken matrix`: all targets side by side.

use clap::Args;

use super::check::Check;
use super::failure::Failure;
use super::options::{JudgeOptions, ReportOptions, RunOptions};
use super::selection::ALL_BUT_NULL;
use crate::summary::Exit;

/// Arguments of `matrix`.
#[derive(Debug, Clone, Args)]
pub(super) struct Matrix {
    /// Manifest files, targets, scenarios, checks, or prefixes of them (default: every target but the null ones)
    #[arg(value_name = "TARGET|FILE|SELECTOR")]
    words: Vec<String>,
    /// Judge only these checks or areas (repeatable, or separated by commas)
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    run: Vec<String>,
    /// Leave these checks or areas out (repeatable, or separated by commas)
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    skip: Vec<String>,
    /// Run the core scenarios only, not all
    #[arg(long)]
    core: bool,
    /// What this machine lacks is not as expected: exit 3 (also UNBROKEN_REQUIRE_ALL=1)
    #[arg(long)]
    require_all: bool,
    /// Keep the directories of passed runs too
    #[arg(long)]
    keep: bool,
    /// How many runs at a time (tier C has one network for all: one)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
    #[command(flatten)]
    judge: JudgeOptions,
    #[command(flatten)]
    how: RunOptions,
    #[command(flatten)]
    reports: ReportOptions,
}

impl Matrix {
    /// What standard error may be coloured.
    pub(super) fn reports(&self) -> &ReportOptions {
        &self.reports
    }

    /// Verifies as `check` does, and shows the targets beside each other.
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let check = Check {
            words: self.words,
            run: self.run,
            skip: self.skip,
            full: !self.core,
            require_all: self.require_all,
            keep: self.keep,
            soak: None,
            jobs: Some(self.jobs),
            judge: self.judge,
            how: self.how,
            reports: self.reports,
        };
        check.run_with(ALL_BUT_NULL, |reports, summary, exit, here| reports.write_matrix(summary, exit, here))
    }
}
