//! The `[restart]` section of a manifest as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the target is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// The steps of one upgrade. The first one that is not `deploy` is the trigger (a `deploy` that changes the watched
    /// file is the trigger itself).
    pub steps: Vec<RestartStep>,
    /// The event that completes the upgrade.
    pub done: Done,
    /// The file it watches, if it does (capability `watch`).
    #[serde(default)]
    pub watch: Option<Watch>,
}

/// A watched file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Its path.
    pub path: String,
    /// What it is: a running executable cannot be written in place (ETXTBSY).
    pub kind: WatchKind,
    /// How many processes hold the listener in one generation.
    #[serde(default = "one")]
    pub processes: u32,
}

fn one() -> u32 {
    1
}

/// What a watched file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WatchKind {
    /// The program itself.
    Executable,
    /// Configuration or other data.
    Data,
}

/// One step of a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RestartStep {
    /// Render the files with the next version (atomically, by rename) and replace `{self}` by a copy stamped with it.
    Deploy,
    /// Send a signal.
    Signal {
        /// Name without SIG: "HUP".
        signal: String,
        /// To whom.
        to: Recipient,
    },
    /// Run a command from the same clean state, in the target's sandbox; it must exit 0.
    Run {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Launch the target anew with its launch command.
    Launch,
    /// Set a file's times to now.
    Touch(String),
    /// Replace a file by a copy of itself, by rename: a new inode.
    Replace(String),
    /// Write a file's content again, in place.
    Rewrite(String),
    /// Wait for something, within the upgrade's deadline.
    Wait(Await),
}

/// To whom a signal goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Recipient {
    /// The current main process.
    Main,
    /// The main process as it was before this upgrade.
    OldMain,
    /// The main process that this upgrade brought.
    NewMain,
    /// The pid in this file.
    PidIn(String),
}

/// Something to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Await {
    /// The pidfile names a live main process other than the old one.
    NewMain,
    /// This file exists.
    File(String),
    /// This file is gone.
    FileGone(String),
    /// The old main process has exited.
    OldMainExit,
    /// All processes that held the listener at the trigger, besides main, have exited.
    OldWorkersExit,
    /// An answer carries the new version.
    NewVersion,
}

/// The event that completes an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// An answer carries the new version.
    NewVersion,
    /// The old main process has exited.
    OldMainExit,
    /// The last restart step returned.
    Steps,
    /// It has written this since the trigger, to standard output or error: from then on only the new generation takes
    /// connections (handoff/old-stops-accepting).
    Output(String),
}
