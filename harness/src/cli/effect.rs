//! What commands call: preparing the machine, verifying, judging again. Their errors become a [`Failure`] here.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::bench::{self, BenchError, BenchReport};
use crate::calibrate::{self, CalibrationReport};
use crate::doctor::{self, DoctorReport};
use crate::expectation::Expectation;
use crate::machine::{Machine, Tier};
use crate::manifest::{Part, Problem, Program, Source};
use crate::progress::Listener;
use crate::run::RunError;
use crate::run::machine;
use crate::selftest::{self, SelftestError, SelftestReport};
use crate::summary::Summary;
use crate::verify::{self, Request, VerifyError};
use crate::wait::Stop;

/// Probes the machine and enters its tier. No thread may run yet. A tier that was asked for and does not work is a
/// failure: nothing else would be what was asked.
pub(super) fn prepare<'a>(
    tier: Option<Tier>,
    programs: impl IntoIterator<Item = &'a Program>,
    directories: &[PathBuf],
) -> Result<Machine, Failure> {
    machine::prepare(tier, programs, directories).map_err(|error| Failure::Environment(error.into()))
}

/// Verifies. A command that cannot be executed is shown where it stands, if that is a file of the user's own:
/// `sources` are the texts of the first subjects: those that came from files.
pub(super) fn verify(
    request: &Request,
    sources: &[Source],
    stop: &Stop,
    progress: Listener<'_>,
) -> Result<Summary, Failure> {
    let written = |target: &str| {
        let nth = request.subjects.iter().position(|it| it.target.name == target)?;
        sources.get(nth)
    };
    verify::verify(request, stop, progress).map_err(|error| unverified(error, written))
}

/// Examines a target; `sources` is its text, if it came from a file.
pub(super) fn examine(
    request: &doctor::Request,
    sources: &[Source],
    stop: &Stop,
    progress: Listener<'_>,
) -> Result<DoctorReport, Failure> {
    doctor::examine(request, stop, progress).map_err(|error| unverified(error, |_| sources.first()))
}

/// Measures targets beside each other; `sources` are the texts of those that came from files, by name.
pub(super) fn bench(
    request: &bench::Request,
    sources: &[(String, Source)],
    stop: &Stop,
    progress: Listener<'_>,
) -> Result<BenchReport, Failure> {
    bench::bench(request, stop, progress).map_err(|error| match error {
        BenchError::Run { target, source } => {
            let scenario = request.scenario.script().name.clone();
            let written = sources.iter().find(|(name, _)| *name == target).map(|(_, source)| source);
            unverified(VerifyError::Run { target, scenario, source }, |_| written)
        }
        error => Failure::Environment(error.into()),
    })
}

/// What a verification that could not be had is to the user; `written` finds the text of a target of the user's own.
fn unverified<'a>(error: VerifyError, written: impl Fn(&str) -> Option<&'a Source>) -> Failure {
    match &error {
        VerifyError::Run { target, source: RunError::Command { key, command, reason, fix }, .. } => {
            let Some(source) = written(target) else { return Failure::Unusable(error.into()) };
            let problem = Problem::Command { command: command.clone(), reason: reason.clone(), fix };
            Failure::Manifest(source.error(key.key_path(), Part::Value, problem))
        }
        VerifyError::Run { source, .. } if blames_manifest(source) => Failure::Unusable(error.into()),
        VerifyError::Run { .. } | VerifyError::Store(_) => Failure::Environment(error.into()),
    }
}

/// Judges a saved run again; starts nothing.
pub(super) fn rejudge(directory: &Path, strict: bool, expectations: &[Expectation]) -> Result<Summary, Failure> {
    verify::rejudge(directory, strict, expectations).map_err(|error| Failure::Environment(error.into()))
}

/// Runs the defect matrix.
pub(super) fn selftest(
    request: &selftest::Request<'_>,
    stop: &Stop,
    progress: &mut (dyn FnMut(crate::progress::Progress) + Send),
) -> Result<SelftestReport, Failure> {
    selftest::run(request, stop, progress).map_err(|error| match &error {
        SelftestError::Run { source, .. } if blames_manifest(source) => Failure::Unusable(error.into()),
        SelftestError::Run { .. } | SelftestError::Store(_) | SelftestError::Matrix(_) => {
            Failure::Environment(error.into())
        }
    })
}

/// Calibrates the load.
pub(super) fn calibrate(
    machine: &Machine,
    times: u32,
    stop: &Stop,
    see: &mut (dyn FnMut(&str) + Send),
) -> Result<CalibrationReport, Failure> {
    calibrate::calibrate(machine, times, stop, see).map_err(|error| Failure::Environment(error.into()))
}

fn blames_manifest(error: &RunError) -> bool {
    matches!(error, RunError::Command { .. } | RunError::Build { .. })
}
