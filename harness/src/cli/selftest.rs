//! `unbroken selftest`: proof that every check can fail.

use clap::Args;

use super::check::{directory, here, prepare};
use super::effect;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::options::{ReportOptions, RunOptions};
use super::output::tell;
use super::progress::{ProgressMode, Teller};
use super::reports::Reports;
use crate::catalogue::Catalogue;
use crate::report;
use crate::sandbox::Hog;
use crate::selftest::Request;
use crate::summary::Exit;

/// How often each harm is done where nothing else is said.
const TIMES: u32 = 200;

/// Arguments of `selftest`.
#[derive(Debug, Args)]
pub(super) struct Selftest {
    /// Defects, targets, scenarios or checks to test (default: all)
    #[arg(value_name = "ROW")]
    only: Vec<String>,
    /// Instead of the matrix: does the load report each harm, a known number of times, as what it was? How short a gap does it see, and how
    /// late is it itself? --runs is how often each is done (default: 200)
    #[arg(long, conflicts_with_all = ["only", "jobs", "directory", "seed"])]
    calibrate: bool,
    /// Let a processor hog run beside: no verdict may depend on a quiet machine
    #[arg(long)]
    hog: bool,
    /// How many runs at a time (tier C has one network for all: one)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
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
        if self.calibrate {
            return self.run_calibration();
        }
        let here = here()?;
        let catalogue = Catalogue::embedded();
        let mut reports = Reports::open(&self.reports)?;
        let directory = directory(self.how.directory.as_deref(), &here);
        prepare(&directory)?;
        let programs = catalogue.programs();
        let machine = effect::prepare(self.how.tier, programs, std::slice::from_ref(&directory))?;
        let request = Request {
            catalogue: &catalogue,
            machine,
            runs: self.how.runs,
            only: self.only.clone(),
            seed: self.how.seed(),
            hog: self.hog,
            jobs: self.jobs,
            directory,
        };
        let interrupt = Interrupt::watch()?;
        let hog = self.start_hog()?;
        let teller = Teller::new(self.how.progress);
        let tested = effect::selftest(&request, interrupt.stop(), &mut |step| teller.tell(&step));
        teller.finish();
        drop(hog);
        let ended = tested.and_then(|tested| {
            if tested.rows.is_empty() {
                return Err(Failure::NothingSelected(format!("no row of the matrix is {}", self.only.join(" or "))));
            }
            reports.write_with(&here, |format, page| report::selftest::render(&tested, format, page))?;
            Ok(if tested.ok { Exit::AsExpected } else { Exit::Unexpected })
        });
        interrupt.end_if_asked();
        ended
    }

    /// Runs until it is dropped, where one was asked for.
    fn start_hog(&self) -> Result<Option<Hog>, Failure> {
        let hog = self.hog.then(Hog::start).transpose();
        hog.map_err(|error| Failure::environment("start the processor hog", error))
    }

    /// Calibrates the load and reports.
    fn run_calibration(&self) -> Result<Exit, Failure> {
        let here = here()?;
        let mut reports = Reports::open(&self.reports)?;
        let machine = effect::prepare(self.how.tier, [], &[])?;
        let interrupt = Interrupt::watch()?;
        let hog = self.start_hog()?;
        let is_silent = self.how.progress == ProgressMode::None;
        let mut see = |what: &str| {
            if !is_silent {
                tell(&format!("unbroken: {what}\n"));
            }
        };
        let times = if self.how.runs > 1 { self.how.runs } else { TIMES };
        let calibrated = effect::calibrate(&machine, times, interrupt.stop(), &mut see);
        drop(hog);
        let ended = calibrated.and_then(|report| {
            reports.write_with(&here, |format, page| report::calibrate::render(&report, format, page))?;
            Ok(if report.ok { Exit::AsExpected } else { Exit::Unexpected })
        });
        interrupt.end_if_asked();
        ended
    }
}
