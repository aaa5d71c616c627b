//! `unbroken bench`: the handoffs of several targets beside each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, value_parser};

use super::check::{directory, here, prepare};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::options::{self, ReportOptions};
use super::progress::{ProgressMode, Teller};
use super::reports::{ReportFile, Reports};
use super::selection::{ALL_BUT_NULL, Wanted, select};
use super::{effect, subject};
use crate::bench::{self, Request};
use crate::catalogue::Catalogue;
use crate::machine::Tier;
use crate::manifest::Source;
use crate::report;
use crate::run::Builds;
use crate::summary::Exit;
use crate::target::Target;

/// The scenario that makes upgrades in a row.
const UPGRADES: &str = "restart/sequential";

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Manifest files, targets, or prefixes of them
    #[arg(required = true, value_name = "TARGET|FILE")]
    targets: Vec<String>,
    /// Targets that the others are held against: the best of them in each figure (repeatable, or separated by commas)
    #[arg(long, value_name = "TARGET|FILE", value_delimiter = ',')]
    against: Vec<String>,
    /// How often each target has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// Upgrades of each turn
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=100_000))]
    upgrades: u32,
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
    /// Draw what clients saw around the triggers, 10 ms by 10 ms, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    reports: ReportOptions,
}

impl Bench {
    /// What standard error may be coloured.
    pub(super) fn reports(&self) -> &ReportOptions {
        &self.reports
    }

    /// Measures and reports.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let here = here()?;
        let (request, (mut reports, plot), sources) = self.request(&here)?;
        let interrupt = Interrupt::watch()?;
        let teller = Teller::new(self.progress);
        let measured = effect::bench(&request, &sources, interrupt.stop(), &mut |step| teller.tell(&step));
        teller.finish();
        let ended = measured.and_then(|report| {
            reports.write_with(&here, |format, page| report::bench::render(&report, format, page))?;
            if let Some(mut file) = plot {
                file.write(&report::plot::svg(&report))?;
            }
            Ok(report.exit())
        });
        interrupt.end_if_asked();
        ended
    }

    fn request(&self, here: &Path) -> Result<(Request, Files<'_>, Sources), Failure> {
        let catalogue = Catalogue::embedded();
        let (targets, mut sources) = chosen(&self.targets, &catalogue)?;
        let (against, more) = chosen(&self.against, &catalogue)?;
        sources.extend(more);
        if let Some(twice) = against.iter().find(|it| targets.iter().any(|other| other.name == it.name)) {
            return Err(Failure::Usage(format!(
                "`{}` cannot be held against itself: leave it out of one side",
                twice.name
            )));
        }
        let files = (Reports::open(&self.reports)?, self.plot.as_deref().map(ReportFile::open).transpose()?);
        let directory = directory(self.directory.as_deref(), here);
        prepare(&directory)?;
        let programs = targets.iter().chain(&against).flat_map(|it| &it.requires);
        let machine = effect::prepare(self.tier, programs, std::slice::from_ref(&directory))?;
        let scenario = catalogue.scenario(UPGRADES).expect("it is embedded");
        let scenario = bench::paced(scenario, self.upgrades).expect("it makes upgrades in a row");
        let (rounds, seed) = (self.rounds, options::seed(self.seed));
        let builds = Arc::new(Builds::below(&directory));
        Ok((Request { targets, against, scenario, rounds, seed, machine, directory, builds }, files, sources))
    }
}

/// The reports, and the plot.
type Files<'a> = (Reports<'a>, Option<ReportFile<'a>>);

/// The texts of targets that came from files, by their names.
type Sources = Vec<(String, Source)>;

/// The targets that these words name, those of files first.
fn chosen(words: &[String], catalogue: &Catalogue) -> Result<(Vec<Target>, Sources), Failure> {
    if words.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let selection = select(Wanted { words, roles: ALL_BUT_NULL, ..Wanted::default() }, catalogue, &Path::is_file)?;
    let sources = subject::sources(&selection)?;
    let subjects = subject::subjects(&selection, catalogue, None, &sources)?;
    let targets: Vec<Target> = subjects.into_iter().map(|it| it.target).collect();
    let names: Vec<String> = targets.iter().map(|it| it.name.clone()).collect();
    Ok((targets, names.into_iter().zip(sources).collect()))
}
