//! `unbroken check`: starts, loads, restarts and judges targets.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::directory::default_directory;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::options::{JudgeOptions, ReportOptions, RunOptions};
use super::progress::Teller;
use super::reports::Reports;
use super::selection::{Selection, Wanted, select};
use super::{effect, subject};
use crate::catalogue::Catalogue;
use crate::manifest::{Role, Source};
use crate::run::Builds;
use crate::scenario::Scenario;
use crate::summary::{Exit, Summary};
use crate::verify::Request;

/// How many runs of the references at a time: they are known to bear it, and a stranger's figures are his own only where he runs
/// alone. Twice as many as the processors that such a run needs: much of it waits for connections to drain, and three at a time leave half of
/// two processors idle.
const REFERENCES_AT_A_TIME: usize = 4;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Manifest files, targets, scenarios, checks, or prefixes of them (default: the references)
    #[arg(value_name = "TARGET|FILE|SELECTOR")]
    pub(super) words: Vec<String>,
    /// Judge only these checks or areas (repeatable, or separated by commas)
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    pub(super) run: Vec<String>,
    /// Leave these checks or areas out (repeatable, or separated by commas)
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    pub(super) skip: Vec<String>,
    /// Run all scenarios, not only the core ones
    #[arg(long)]
    pub(super) full: bool,
    /// Only the scenario `restart/sequential`, with so many upgrades under load, and by how much each adds to what the target holds
    #[arg(long, value_name = "N", conflicts_with = "full", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(super) soak: Option<u32>,
    /// What this machine lacks is not as expected: exit 3 (also UNBROKEN_REQUIRE_ALL=1)
    #[arg(long)]
    pub(super) require_all: bool,
    /// Keep the directories of passed runs too
    #[arg(long)]
    pub(super) keep: bool,
    /// How many runs at a time (default: 1; of the references 4; tier C has one network for all: 1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) jobs: Option<u32>,
    #[command(flatten)]
    pub(super) judge: JudgeOptions,
    #[command(flatten)]
    pub(super) how: RunOptions,
    #[command(flatten)]
    pub(super) reports: ReportOptions,
}

impl Check {
    /// What standard error may be coloured.
    pub(super) fn reports(&self) -> &ReportOptions {
        &self.reports
    }

    /// Verifies what is selected and reports.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        self.run_with(&[Role::Reference], |reports, summary, exit, here| reports.write(summary, exit, here))
    }

    /// Verifies what is selected, of targets of these roles where no word names any; `write` makes the report.
    pub(super) fn run_with(
        &self,
        roles: &[Role],
        write: impl FnOnce(&mut Reports<'_>, &Summary, Exit, &Path) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        let here = here()?;
        let (request, mut reports, sources) = self.request(roles, &here)?;
        let interrupt = Interrupt::watch()?;
        let teller = Teller::new(self.how.progress);
        let verified = effect::verify(&request, &sources, interrupt.stop(), &mut |step| teller.tell(&step));
        teller.finish();
        let ended = verified.and_then(|summary| {
            let exit = summary.exit(self.require_all || require_all());
            write(&mut reports, &summary, exit, &here)?;
            Ok(exit)
        });
        interrupt.end_if_asked();
        ended
    }

    fn request(&self, roles: &[Role], here: &Path) -> Result<(Request, Reports<'_>, Vec<Source>), Failure> {
        let catalogue = Catalogue::embedded();
        let wanted = Wanted { words: &self.words, run: &self.run, skip: &self.skip, full: self.full, roles };
        let mut selection = select(wanted, &catalogue, &Path::is_file)?;
        if let Some(upgrades) = self.soak {
            soak(&mut selection, upgrades)?;
        }
        let sources = subject::sources(&selection)?;
        let subjects = subject::subjects(&selection, &catalogue, self.judge.expect.as_ref(), &sources)?;
        // Reports and directory are made before the machine is prepared: tier B as root gives up the rights to.
        let reports = Reports::open(&self.reports)?;
        let directory = directory(self.how.directory.as_deref(), here);
        prepare(&directory)?;
        let scenarios = selection.scenarios.iter().flat_map(|it| &it.script().requires);
        let programs = subjects.iter().flat_map(|it| &it.target.requires).chain(scenarios);
        let machine = effect::prepare(self.how.tier, programs, std::slice::from_ref(&directory))?;
        let are_ours = subjects.iter().all(|it| it.target.role == Role::Reference);
        let usual = if are_ours { REFERENCES_AT_A_TIME.min(2 * machine.processors) } else { 1 };
        let request = Request {
            subjects,
            scenarios: selection.scenarios,
            run: selection.run,
            skip: selection.skip,
            runs: self.how.runs,
            seed: self.how.seed(),
            strict: self.judge.strict,
            complete: selection.complete,
            keep: self.keep,
            jobs: self.jobs.map_or(usual, |jobs| usize::try_from(jobs).expect("at most 64")),
            builds: Arc::new(Builds::below(&directory)),
            directory,
            machine,
        };
        Ok((request, reports, sources))
    }
}

/// Leaves the scenarios that make upgrades in a row, with so many of them.
fn soak(selection: &mut Selection, upgrades: u32) -> Result<(), Failure> {
    let soaks: Vec<Scenario> = selection.scenarios.iter().filter_map(|it| it.with_sequential(upgrades)).collect();
    if soaks.is_empty() {
        let text = "--soak runs `restart/sequential`, which the words leave out: name targets only";
        return Err(Failure::Usage(text.to_owned()));
    }
    selection.scenarios = soaks;
    // Expectations of the other scenarios match nothing here.
    selection.complete = false;
    Ok(())
}

/// The working directory.
pub(super) fn here() -> Result<PathBuf, Failure> {
    env::current_dir().map_err(|error| Failure::environment("find the working directory", error))
}

/// Where run directories go, absolute: targets may change theirs.
pub(super) fn directory(asked: Option<&Path>, here: &Path) -> PathBuf {
    asked.map_or_else(|| default_directory(here), |directory| here.join(directory))
}

/// Makes the directory of the runs, while this process still has the rights it was started with.
pub(super) fn prepare(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory)
        .map_err(|error| Failure::environment(format!("make the directory {}", directory.display()), error))
}

/// Whether the environment asks for `--require-all`.
fn require_all() -> bool {
    env::var_os("UNBROKEN_REQUIRE_ALL").is_some_and(|value| !value.is_empty() && value != "0")
}
