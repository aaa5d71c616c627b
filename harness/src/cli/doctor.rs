//! `unbroken doctor`: can the suite judge this target, and would it see a failure there?

use std::path::{Path, PathBuf};

use clap::Args;

use super::check::{directory, here, prepare};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::options::ReportOptions;
use super::progress::{ProgressMode, Teller};
use super::reports::Reports;
use super::selection::{ALL_BUT_NULL, Wanted, select};
use super::{effect, options, subject};
use crate::catalogue::Catalogue;
use crate::doctor::Request;
use crate::machine::Tier;
use crate::manifest::Source;
use crate::report;
use crate::summary::Exit;

/// The scenario under which a bad restart must show.
const UPGRADES: &str = "restart/upgrade-under-load";

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// A manifest file of your own, or one target of the catalogue
    #[arg(value_name = "TARGET|FILE")]
    target: String,
    /// Seed of every random choice; the report names it (default: a new one)
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Isolation tier: A needs root, B user namespaces, C nothing (default: the best that works here)
    #[arg(long, ignore_case = true, value_parser = options::tier())]
    tier: Option<Tier>,
    /// Where run directories go (default: see FILES of `check`)
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    progress: ProgressMode,
    #[command(flatten)]
    reports: ReportOptions,
}

impl Doctor {
    /// What standard error may be coloured.
    pub(super) fn reports(&self) -> &ReportOptions {
        &self.reports
    }

    /// Examines the target and reports.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let here = here()?;
        let (request, mut reports, sources) = self.request(&here)?;
        let interrupt = Interrupt::watch()?;
        let teller = Teller::new(self.progress);
        let examined = effect::examine(&request, &sources, interrupt.stop(), &mut |step| teller.tell(&step));
        teller.finish();
        let ended = examined.and_then(|examined| {
            reports.write_with(&here, |format, page| report::doctor::render(&examined, format, page))?;
            Ok(examined.exit())
        });
        interrupt.end_if_asked();
        ended
    }

    fn request(&self, here: &Path) -> Result<(Request, Reports<'_>, Vec<Source>), Failure> {
        let catalogue = Catalogue::embedded();
        let words = std::slice::from_ref(&self.target);
        let selection = select(Wanted { words, roles: ALL_BUT_NULL, ..Wanted::default() }, &catalogue, &Path::is_file)?;
        let sources = subject::sources(&selection)?;
        let mut subjects = subject::subjects(&selection, &catalogue, None, &sources)?;
        if subjects.len() != 1 {
            let names: Vec<&str> = subjects.iter().map(|it| it.target.name.as_str()).collect();
            let text = format!("`{}` is not one target: take one of {}", self.target, names.join(", "));
            return Err(Failure::Usage(text));
        }
        let target = subjects.remove(0).target;
        let upgrades = catalogue.scenario(UPGRADES).expect("it is embedded").clone();
        let reports = Reports::open(&self.reports)?;
        let directory = directory(self.directory.as_deref(), here);
        prepare(&directory)?;
        let machine = effect::prepare(self.tier, &target.requires, std::slice::from_ref(&directory))?;
        let seed = options::seed(self.seed);
        Ok((Request { target, upgrades, machine, seed, directory }, reports, sources))
    }
}
