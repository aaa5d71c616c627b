//! What commands call: preparing the machine, verifying, judging again. Their errors become a [`Failure`] here.

use std::path::{Path, PathBuf};

use super::failure::Failure;
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
    let names = || request.subjects.iter().map(|it| it.target.name.as_str());
    verify::verify(request, stop, progress).map_err(|error| unverified(error, names(), sources))
}

/// Examines a target; `sources` is its text, if it came from a file.
pub(super) fn examine(
    request: &doctor::Request,
    sources: &[Source],
    stop: &Stop,
    progress: Listener<'_>,
) -> Result<DoctorReport, Failure> {
    let name = request.target.name.as_str();
    doctor::examine(request, stop, progress).map_err(|error| unverified(error, [name].into_iter(), sources))
}

/// What a verification that could not be had is to the user; `names` are those of the texts.
fn unverified<'a>(error: VerifyError, mut names: impl Iterator<Item = &'a str>, sources: &[Source]) -> Failure {
    match &error {
        VerifyError::Run { target, source: RunError::Command { key, command, reason, fix }, .. } => {
            let nth = names.position(|name| name == target);
            let Some(source) = nth.and_then(|nth| sources.get(nth)) else { return Failure::Unusable(error.into()) };
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

fn blames_manifest(error: &RunError) -> bool {
    matches!(error, RunError::Command { .. } | RunError::Build { .. })
}
