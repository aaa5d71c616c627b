//! What commands call: probing, entering a tier, verifying, judging again. Their errors become a [`Failure`] here.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::failure::Failure;
use crate::expectation::Expectation;
use crate::machine::{Machine, Tier};
use crate::manifest::Program;
use crate::progress::Listener;
use crate::sandbox;
use crate::summary::Summary;
use crate::verify::Request;
use crate::wait::Stop;

/// Probes the machine. A tier that was asked for and does not work is a failure: nothing else would be what was asked.
pub(super) fn machine<'a>(
    tier: Option<Tier>,
    programs: impl IntoIterator<Item = &'a Program>,
) -> Result<Machine, Failure> {
    let probed = sandbox::probe(tier);
    if let Some(asked) = tier.filter(|asked| *asked != probed.tier) {
        return Err(Failure::Environment(anyhow!("use tier {asked} on this machine: {}", probed.reason)));
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let kernel = kernel.map_err(|error| Failure::environment("read the kernel's release", error))?;
    Ok(Machine {
        tier: probed.tier,
        tier_reason: probed.reason,
        kernel: kernel.trim().to_owned(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        uid: rustix::process::geteuid().as_raw(),
        listen_hook: sandbox::probe_listen_hook(),
        programs: programs.into_iter().map(|it| (it.program.clone(), find(&it.program))).collect(),
    })
}

fn find(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file());
    found.map(|path| path.display().to_string())
}

/// Prepares this process for the tier. No thread may run yet.
pub(super) fn enter(tier: Tier, directories: &[PathBuf]) -> Result<(), Failure> {
    sandbox::enter(tier, directories).map_err(|error| Failure::environment(format!("enter tier {tier}"), error))
}

/// Verifies.
pub(super) fn verify(_request: &Request, _stop: &Stop, _progress: Listener<'_>) -> Result<Summary, Failure> {
    Err(Failure::Environment(anyhow!("run anything: the engine is not part of this build")))
}

/// Judges a saved run again; starts nothing.
pub(super) fn rejudge(directory: &Path, _strict: bool, _expectations: &[Expectation]) -> Result<Summary, Failure> {
    Err(Failure::Environment(anyhow!("judge {}: the engine is not part of this build", directory.display())))
}
