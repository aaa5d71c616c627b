//! What this machine can do, probed by attempting.

use std::path::PathBuf;

use thiserror::Error;

use crate::machine::{Machine, Tier};
use crate::manifest::Program;
use crate::sandbox::{self, EnterError};

/// Why the machine could not be prepared.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The asked tier does not work here.
    #[error("isolate as asked: {reason}")]
    Tier {
        /// What was asked.
        asked: Tier,
        /// Why not.
        reason: String,
    },
    /// The user namespace could not be entered.
    #[error(transparent)]
    Enter(#[from] EnterError),
}

/// Probes the machine and prepares this process for its tier. To be called before the first thread; `directories` are
/// those of the runs, which an unprivileged tier has to be given while there is still the right to.
///
/// # Errors
/// When the asked tier does not work here, with the reason.
pub fn prepare<'a>(
    asked: Option<Tier>,
    programs: impl IntoIterator<Item = &'a Program>,
    directories: &[PathBuf],
) -> Result<Machine, MachineError> {
    let uid = rustix::process::geteuid().as_raw();
    let probed = sandbox::probe(asked);
    if let Some(asked) = asked.filter(|asked| *asked != probed.tier) {
        return Err(MachineError::Tier { asked, reason: probed.reason });
    }
    let listen_hook = sandbox::probe_listen_hook();
    // While there is still the right to become whoever the tier makes of us.
    let no_systemd = sandbox::probe_systemd(probed.tier);
    let no_task_groups = sandbox::probe_task_groups(probed.tier);
    let no_clients = sandbox::probe_clients(probed.tier);
    sandbox::enter(probed.tier, directories)?;
    let find = |it: &Program| {
        let path = super::start::find_program(&it.program).map(|path| path.display().to_string());
        (it.program.clone(), path)
    };
    let system = rustix::system::uname();
    Ok(Machine {
        tier: probed.tier,
        tier_reason: probed.reason,
        kernel: system.release().to_string_lossy().into_owned(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        uid,
        listen_hook,
        no_systemd,
        no_task_groups,
        no_clients,
        programs: programs.into_iter().map(find).collect(),
    })
}
