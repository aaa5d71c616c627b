//! execute(&Plan) -> a recorded run: the only impure arrow.
//!
//! - [`store`]: a run on disk; `recorder` writes its events
//! - `stage`: everything that lives while a run lives, and the scenario's steps
//! - `start`, `upgrade`, `broken`, `killing`, `without`, `across`, `drain`, `storm`, `rest`, `hold`, `marked`, `change`, `stall`, `hup`, `rotate`, `stop`: the
//!   steps; `census`: who is who; `deploy`: files and versions; `disk`: a file system that can be full
//! - `launcher`, `daemon`: what a daemon is launched from, and what still ties it to its launcher; `second`: a start while
//!   it runs; `obstructed`: starts with something in the pidfile's place; `control`: the target's own commands, and a
//!   successor's pidfile; `race`: several starts at once; `beside`: a start beside the helpers of one that was killed
//! - `supervised`: the target under supervisord; `systemd`: as a unit, `unit`: what is done to it then
//! - [`Builds`]: the programs that targets have built before
//! - `observers`: the observers of a run, started before the target
//! - [`machine`]: what this machine can do

mod across;
mod bait;
mod beside;
mod broken;
mod build;
mod census;
mod change;
mod control;
mod daemon;
mod deploy;
mod disk;
mod drain;
mod early_stop;
mod half_open;
mod hold;
mod hup;
mod killing;
mod launcher;
mod listeners;
pub mod machine;
mod marked;
mod observers;
mod obstructed;
mod orphan;
mod race;
mod recorder;
mod rest;
mod rotate;
mod second;
mod settings;
mod stage;
mod stall;
mod start;
mod stop;
pub mod store;
mod storm;
mod supervised;
mod systemd;
mod unit;
mod upgrade;
mod without;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::date;
use crate::kernel::clock::Clock;
use crate::load::{LoadError, LoadRecord};
use crate::manifest::KeyPath;
use crate::observe::ObserveError;
use crate::plan::Plan;
use crate::progress;
pub use crate::run::build::Builds;
use crate::run::deploy::DeployError;
use crate::run::disk::Disk;
use crate::run::recorder::Recorder;
use crate::run::stage::{Setting, Stage};
use crate::run::store::{Account, StoreError};
use crate::sandbox::{CanaryError, ClientsError, SandboxError, Step};
use crate::wait::Stop;

/// Why a run has no history worth judging. A target that misbehaves is no error: that is in the history.
#[derive(Debug, Error)]
pub enum RunError {
    /// The first word of a command of the manifest cannot be executed, or its directory not be entered.
    #[error("execute `{command}` ({} of its manifest): {reason}; {fix}", .key.key_path())]
    Command {
        /// Where it stands.
        key: CommandKey,
        /// The command's first word.
        command: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        fix: &'static str,
    },
    /// The target's program could not be built.
    #[error("build its program (build.command of its manifest): {reason}; it said:{output}")]
    Build {
        /// What is wrong.
        reason: String,
        /// What it said, each line after a line break.
        output: String,
    },
    /// Another program listens on the declared address (tier C, where the host's network is shared).
    #[error(
        "use the address {0}: another program listens on it (`ss -ltnp` shows which); stop it, or declare another \
         address; in tiers A and B the target has a network of its own"
    )]
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
    /// The side of the target's clients.
    #[error(transparent)]
    Clients(#[from] ClientsError),
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

/// Which of the manifest's keys a command came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKey {
    /// `build.command`.
    Build,
    /// `launch.command`.
    Launch,
    /// `launch.directory`: the command's working directory.
    Directory,
    /// A `run` step of `restart.steps`.
    Restart,
    /// `stop.command`.
    Stop,
    /// `commands.stop`.
    StopCommand,
    /// `commands.status`.
    StatusCommand,
    /// `commands.config_test`.
    ConfigTest,
}

impl CommandKey {
    /// The key as errors show it.
    #[must_use]
    pub fn key_path(self) -> KeyPath {
        match self {
            CommandKey::Build => KeyPath::of("build").key("command"),
            CommandKey::Launch => KeyPath::of("launch").key("command"),
            CommandKey::Directory => KeyPath::of("launch").key("directory"),
            CommandKey::Restart => KeyPath::of("restart").key("steps"),
            CommandKey::Stop => KeyPath::of("stop").key("command"),
            CommandKey::StopCommand => KeyPath::of("commands").key("stop"),
            CommandKey::StatusCommand => KeyPath::of("commands").key("status"),
            CommandKey::ConfigTest => KeyPath::of("commands").key("config_test"),
        }
    }
}

impl RunError {
    /// A launch that failed: the manifest's fault where its command or directory is wrong, else the environment's.
    fn of_launch(key: CommandKey, command: &str, error: SandboxError) -> RunError {
        let SandboxError::Launch { step, source, .. } = &error else { return RunError::Sandbox(error) };
        let (key, reason, fix) = match (step, source.raw_os_error()) {
            (Step::Exec, Some(libc::ENOENT)) => {
                (key, "no such program, or its interpreter is missing".to_owned(), "give its path, or install it")
            }
            (Step::Exec, Some(libc::EACCES)) => {
                (key, "it is not executable".to_owned(), "chmod +x it, or name its interpreter first")
            }
            (Step::Exec, Some(libc::ENOEXEC)) => {
                (key, "it is no program in a known form".to_owned(), "a script needs a first line such as #!/bin/sh")
            }
            (Step::Directory, _) => {
                let reason = format!("its working directory cannot be entered: {source}");
                (CommandKey::Directory, reason, "make the directory, or name another one")
            }
            _ => return RunError::Sandbox(error),
        };
        RunError::Command { key, command: command.to_owned(), reason, fix }
    }

    /// The run told nothing that a judge could use: the manifest, or what else runs on this machine, has to change first.
    #[must_use]
    pub fn tells_nothing(&self) -> bool {
        matches!(self, RunError::Command { .. } | RunError::Build { .. } | RunError::AddressTaken(_))
    }
}

/// What executing needs beside the plan.
pub struct Execution<'a> {
    /// The run's directory; made if it does not exist.
    pub directory: &'a Path,
    /// What the target has built, or has built now.
    pub builds: &'a Builds,
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
    let Execution { directory, builds, stop, progress } = execution;
    let product = builds.product(&plan.target, plan.machine.tier, stop, progress)?;
    // Programs that change their directory must still find theirs.
    fs::create_dir_all(directory)?;
    let directory: PathBuf = fs::canonicalize(directory)?;
    let began = date::now_rfc3339();
    store::write_plan(&directory, plan)?;
    let (recorder, sink) = Recorder::start(&directory)?;
    let (clock, sink_of_run, stop) = (Clock::start(), sink.clone(), stop.clone());
    let setting = Setting { plan, product, clock, sink: sink_of_run, stop, progress, run_dir: &directory, disk: None };
    let played = if disk::is_needed(plan) { play_on_disk(setting) } else { play(setting) };
    let lost_events = sink.lost();
    drop(sink);
    recorder.finish()?;
    let (load, canary, fault) = match played {
        Ok((load, canary)) => (load, canary, None),
        Err(fatal @ (RunError::Interrupted | RunError::Store(_))) => return Err(fatal),
        Err(fatal) if fatal.tells_nothing() => return Err(fatal),
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

/// The same with the target's directory on a file system of its own, on a thread that nobody else's mounts are seen by.
fn play_on_disk(setting: Setting<'_>) -> Result<(LoadRecord, LoadRecord), RunError> {
    let on_disk = || {
        let disk = Arc::new(Disk::mount(&setting.run_dir.join("target"))?);
        let played = play(Setting { disk: Some(Arc::clone(&disk)), ..setting });
        let kept = disk.keep();
        let records = played?;
        kept?;
        Ok(records)
    };
    std::thread::scope(|scope| scope.spawn(on_disk).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
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
