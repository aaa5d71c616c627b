//! `unbroken judge`: judges saved runs again. Starts nothing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::check::here;
use super::effect;
use super::failure::Failure;
use super::options::{Expect, JudgeOptions, ReportOptions};
use super::output::say;
use super::reports::Reports;
use super::subject::read_expectations;
use crate::catalogue::Catalogue;
use crate::drive::disagreement;
use crate::load::journal::{self, Journaled};
use crate::report::load::{LoadReport, terminal};
use crate::summary::{Exit, Summary};

/// Arguments of `judge`.
#[derive(Debug, Args)]
pub(super) struct Judge {
    /// Directories of saved runs, or files that `load --record` wrote
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    judge: JudgeOptions,
    #[command(flatten)]
    reports: ReportOptions,
}

impl Judge {
    /// What standard error may be coloured.
    pub(super) fn reports(&self) -> &ReportOptions {
        &self.reports
    }

    /// Judges each run and reports on it.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        if let [_, _, ..] = self.runs[..]
            && !self.reports.report.is_empty()
        {
            return Err(Failure::Usage("--report takes one RUN: a file holds one report".to_owned()));
        }
        let here = here()?;
        let catalogue = Catalogue::embedded();
        let mut worst = Exit::AsExpected;
        for run in &self.runs {
            if run.is_file() {
                let exit = self.load(run)?;
                worst = if precedence(exit) > precedence(worst) { exit } else { worst };
                continue;
            }
            let summary = self.summary(run, &catalogue)?;
            let exit = summary.exit(false);
            Reports::open(&self.reports)?.write(&summary, exit, &here)?;
            worst = if precedence(exit) > precedence(worst) { exit } else { worst };
        }
        Ok(worst)
    }

    /// A load by itself: its requests, held against what its driver counted.
    fn load(&self, file: &Path) -> Result<Exit, Failure> {
        if !self.reports.report.is_empty() {
            return Err(Failure::Usage("--report is for runs; of a load there is --json".to_owned()));
        }
        let Journaled { heading, answered, lost, report } =
            journal::read(file).map_err(|error| Failure::Environment(error.into()))?;
        if let Some(what) = disagreement(&answered, &lost, &report) {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, what);
            return Err(Failure::environment(format_args!("believe {}", file.display()), error));
        }
        let report = LoadReport::of(heading, (&answered, lost), report);
        if self.reports.json {
            let text = serde_json::to_string_pretty(&report).expect("a report is plain data");
            say(&(text + "\n"))?;
        } else {
            say(&terminal(&report, self.reports.colour.on_stdout()))?;
        }
        Ok(report.exit())
    }

    /// The target is known only when the run was read: its expectations are found then.
    fn summary(&self, run: &Path, catalogue: &Catalogue) -> Result<Summary, Failure> {
        if !run.join("plan.json").is_file() {
            return Err(Failure::Usage(format!("`{}` is no run's directory: it has no plan.json", run.display())));
        }
        let plain = effect::rejudge(run, self.judge.strict, &[])?;
        let Some(target) = plain.targets.first().map(|it| it.target.as_str()) else { return Ok(plain) };
        let known = match &self.judge.expect {
            Some(Expect::None) => return Ok(plain),
            Some(Expect::File(path)) => read_expectations(path, &[target], catalogue)?.expect,
            None => catalogue.expectations_of(target).map(|it| it.expect.clone()).unwrap_or_default(),
        };
        if known.is_empty() { Ok(plain) } else { effect::rejudge(run, self.judge.strict, &known) }
    }
}

/// Which exit code stands for several runs: the order of `Summary::exit`.
fn precedence(exit: Exit) -> u8 {
    match exit {
        Exit::AsExpected => 0,
        Exit::Inconclusive => 1,
        Exit::Environment => 2,
        Exit::Unexpected => 3,
        Exit::BrokenTarget => 4,
        Exit::NothingSelected => 5,
        Exit::Usage => 6,
        Exit::Internal => 7,
    }
}
