//! execute(&Plan) -> a recorded run: the only impure arrow.
//!
//! - [`store`]: a run on disk; `recorder` writes its events
//! - `stage`: everything that lives while a run lives, and the scenario's steps
//! - `start`, `upgrade`, `change`, `stall`, `stop`: the steps; `census`: who is who; `deploy`: files and versions
//! - `observers`: the observers of a run, started before the target
//! - [`machine`]: what this machine can do

mod census;
mod change;
mod deploy;
pub mod machine;
mod observers;
mod recorder;
mod stage;
mod stall;
mod start;
mod stop;
pub mod store;
mod upgrade;

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::date;
use crate::kernel::clock::Clock;
use crate::load::{LoadError, LoadRecord};
use crate::observe::ObserveError;
use crate::plan::Plan;
use crate::progress;
use crate::run::deploy::DeployError;
use crate::run::recorder::Recorder;
use crate::run::stage::{Setting, Stage};
use crate::run::store::{Account, StoreError};
use crate::sandbox::{CanaryError, SandboxError, Step};
use crate::wait::Stop;

/// Why a run has no history worth judging. A target that misbehaves is no error: that is in the history.
#[derive(Debug, Error)]
pub enum RunError {
    /// The first word of a command of the manifest cannot be executed, or its directory not be entered.
    #[error("execute `{command}` of the manifest (launch.command or a restart step): {reason}")]
    Command {
        /// The command's first word.
        command: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Another program listens on the declared address (tier C, where the host's network is shared).
    #[error("use the address {0}: another program listens on it")]
    AddressTaken(std::net::SocketAddr),
    /// The run was interrupted; everything was taken down.
    #[error("finish the run: interrupted")]
    Interrupted,
    /// The environment broke.
    #[error("{0}")]
    Environment(String),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The canary.
    #[error(transparent)]
    Canary(#[from] CanaryError),
    /// The target's `/proc`.
    #[error(transparent)]
    Procfs(#[from] crate::process::ProcfsError),
    /// An observer.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The load driver.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The files of the target.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The files of the run.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<std::io::Error> for RunError {
    fn from(source: std::io::Error) -> RunError {
        RunError::Environment(source.to_string())
    }
}

impl RunError {
    /// A launch that failed: the manifest's fault where its command or directory is wrong, else the environment's.
    fn of_launch(command: &str, error: SandboxError) -> RunError {
        let SandboxError::Launch { step, source, .. } = &error else { return RunError::Sandbox(error) };
        let reason = match (step, source.raw_os_error()) {
            (Step::Exec, Some(libc::ENOENT)) => "no such program; give its path, or install it".to_owned(),
            (Step::Exec, Some(libc::EACCES)) => "not executable; chmod +x, or name the interpreter first".to_owned(),
            (Step::Exec, Some(libc::ENOEXEC)) => "no program in a known form; a script needs a #! line".to_owned(),
            (Step::Directory, _) => format!("its working directory: {source}"),
            _ => return RunError::Sandbox(error),
        };
        RunError::Command { command: command.to_owned(), reason }
    }
}

/// What executing needs beside the plan.
pub struct Execution<'a> {
    /// The run's directory; made if it does not exist.
    pub directory: &'a Path,
    /// Asked when the run is to be interrupted.
    pub stop: &'a Stop,
    /// Told of the phases.
    pub progress: progress::Listener<'a>,
}

/// Runs a plan. The history is then in `execution.directory`; read it with [`store::read`].
///
/// # Errors
/// [`RunError`] for a command that cannot be executed, a taken address, an interrupt, or a directory that cannot be
/// written. Any other failure of the environment stands in the history, and makes every verdict `error`.
pub fn execute(plan: &Plan, execution: Execution<'_>) -> Result<(), RunError> {
    let Execution { directory, stop, progress } = execution;
    // Programs that change their directory must still find theirs.
    fs::create_dir_all(directory)?;
    let directory: PathBuf = fs::canonicalize(directory)?;
    let began = date::now_rfc3339();
    store::write_plan(&directory, plan)?;
    let (recorder, sink) = Recorder::start(&directory)?;
    let setting =
        Setting { plan, clock: Clock::start(), sink: sink.clone(), stop: stop.clone(), progress, run_dir: &directory };
    let played = play(setting);
    let lost_events = sink.lost();
    drop(sink);
    recorder.finish()?;
    let (load, canary, fault) = match played {
        Ok((load, canary)) => (load, canary, None),
        Err(RunError::Environment(reason)) => (LoadRecord::default(), LoadRecord::default(), Some(reason)),
        Err(fatal @ (RunError::Command { .. } | RunError::AddressTaken(_))) => {
            return Err(fatal);
        }
        Err(fatal @ (RunError::Interrupted | RunError::Store(_))) => return Err(fatal),
        Err(other) => (LoadRecord::default(), LoadRecord::default(), Some(describe(&other))),
    };
    let mut requests = load.requests;
    requests.extend(canary.requests);
    let account = Account { began, load: load.account, lost_events, faults: fault.into_iter().collect() };
    store::write_end(&directory, &requests, &account)?;
    Ok(())
}

/// An error with its sources, as one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

fn play(setting: Setting<'_>) -> Result<(LoadRecord, LoadRecord), RunError> {
    let mut stage = Stage::set(setting)?;
    let played = stage.play();
    // Whatever happened: first the load ends, so that no request is lost to the teardown; then the target.
    let records = if played.is_ok() { stage.end_load() } else { Ok(Default::default()) };
    let ended = stage.strike();
    played?;
    let records = records?;
    ended?;
    Ok(records)
}
