//! A target's restart, typed.

use serde::{Deserialize, Serialize};

use super::{Signal, Template};
use crate::manifest::{Await, Done, WatchKind};

/// Restart, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRestart {
    /// Steps of one upgrade.
    pub steps: Vec<TargetRestartStep>,
    /// The completing event.
    pub done: Done,
    /// The watched file.
    pub watch: Option<TargetWatch>,
}

impl TargetRestart {
    /// The index of the step that is the trigger. Where nothing else acts, the deploy itself changes what the target watches.
    #[must_use]
    pub fn trigger(&self) -> usize {
        let acts = |step: &TargetRestartStep| !matches!(step, TargetRestartStep::Deploy | TargetRestartStep::Wait(_));
        self.steps.iter().position(acts).unwrap_or(0)
    }
}

/// A watched file, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetWatch {
    /// Its path.
    pub path: Template,
    /// What it is.
    pub kind: WatchKind,
    /// Processes that hold the listener in one generation.
    pub processes: u32,
}

/// A restart step, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetRestartStep {
    /// Render the next version.
    Deploy,
    /// Send a signal.
    Signal {
        /// Which.
        signal: Signal,
        /// To whom.
        to: TargetRecipient,
    },
    /// Run a command.
    Run(Vec<Template>),
    /// Launch anew.
    Launch,
    /// Set a file's times to now.
    Touch(Template),
    /// Replace by a copy, by rename.
    Replace(Template),
    /// Write again in place.
    Rewrite(Template),
    /// Wait.
    Wait(TargetAwait),
}

/// To whom a signal goes, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetRecipient {
    /// The current main process.
    Main,
    /// Main before this upgrade.
    OldMain,
    /// Main that this upgrade brought.
    NewMain,
    /// The pid in this file.
    PidIn(Template),
}

/// Something to wait for, parsed (see [`Await`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetAwait {
    /// The pidfile names another live main process.
    NewMain,
    /// This file exists.
    File(Template),
    /// This file is gone.
    FileGone(Template),
    /// The old main process has exited.
    OldMainExit,
    /// All other processes that held the listener at the trigger have exited.
    OldWorkersExit,
    /// An answer carries the new version.
    NewVersion,
}

impl From<&Await> for TargetAwait {
    fn from(written: &Await) -> TargetAwait {
        match written {
            Await::NewMain => TargetAwait::NewMain,
            Await::File(path) => TargetAwait::File(Template(path.clone())),
            Await::FileGone(path) => TargetAwait::FileGone(Template(path.clone())),
            Await::OldMainExit => TargetAwait::OldMainExit,
            Await::OldWorkersExit => TargetAwait::OldWorkersExit,
            Await::NewVersion => TargetAwait::NewVersion,
        }
    }
}
