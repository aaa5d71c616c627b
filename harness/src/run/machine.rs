//! What this machine can do, probed by attempting.

use std::collections::BTreeMap;
use std::path::Path;

use crate::machine::{Machine, Tier};
use crate::manifest::Program;
use crate::sandbox;

/// Probes the machine for `programs`; `tier` is what the user asked for.
///
/// # Errors
/// When the asked tier does not work here, with the reason.
pub fn probe<'a>(
    tier: Option<Tier>,
    programs: impl IntoIterator<Item = &'a Program>,
) -> Result<Machine, sandbox::SandboxError> {
    let probed = sandbox::probe(tier)?;
    let here = Path::new("/");
    let programs: BTreeMap<String, Option<String>> = programs
        .into_iter()
        .map(|it| {
            let found = super::find_program(&it.program, here).map(|path| path.display().to_string());
            (it.program.clone(), found)
        })
        .collect();
    let system = rustix::system::uname();
    Ok(Machine {
        tier: probed.tier,
        tier_reason: probed.reason,
        kernel: system.release().to_string_lossy().into_owned(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        uid: probed.uid,
        listen_hook: probed.listen_hook,
        programs,
    })
}
