//! The implementation under test, typed: a manifest that was validated. An invalid one cannot exist.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::Version;
use crate::manifest::{Await, Capability, Done, MainProcess, Profile, Program, Protocol, Role, Slow, Stall, WatchKind};

/// A text with placeholders that a run fills in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub(crate) String);

/// What a run knows when it fills a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholders {
    /// `{self}`: path of the stamped copy of this program.
    pub self_path: String,
    /// `{dir}`: the run's directory for the target.
    pub dir: String,
    /// `{version}`: the deployed version.
    pub version: Version,
    /// `{address}`: the first endpoint's address.
    pub address: SocketAddr,
}

impl Template {
    /// Every name that may stand in braces.
    pub const NAMES: [&'static str; 5] = ["self", "dir", "version", "address", "port"];

    /// The text with all placeholders filled in.
    #[must_use]
    pub fn fill(&self, with: &Placeholders) -> String {
        self.0
            .replace("{self}", &with.self_path)
            .replace("{dir}", &with.dir)
            .replace("{version}", &with.version.to_string())
            .replace("{address}", &with.address.to_string())
            .replace("{port}", &with.address.port().to_string())
    }

    /// It changes with the deployed version.
    #[must_use]
    pub fn is_versioned(&self) -> bool {
        self.0.contains("{version}")
    }

    /// It names the program's own copy.
    #[must_use]
    pub fn names_self(&self) -> bool {
        self.0.contains("{self}")
    }

    /// The text as written.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.0
    }
}

/// A signal by its number, with its name for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub i32);

/// The implementation under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Unique name.
    pub name: String,
    /// One line.
    pub about: String,
    /// Its part in the suite.
    pub role: Role,
    /// Claimed profiles.
    pub profiles: Vec<Profile>,
    /// Claimed capabilities, and disclaimed ones with the reason.
    pub capabilities: BTreeMap<Capability, Claim>,
    /// Programs it needs.
    pub requires: Vec<Program>,
    /// The launch.
    pub launch: TargetLaunch,
    /// Its files.
    pub files: Vec<TargetFile>,
    /// Where it serves; never empty.
    pub endpoints: Vec<TargetEndpoint>,
    /// When it is ready.
    pub ready: TargetReady,
    /// Which process is main.
    pub main: MainProcess,
    /// Its pidfile.
    pub pidfile: Option<Template>,
    /// How it is restarted.
    pub restart: Option<TargetRestart>,
    /// How it is stopped.
    pub stop: TargetStop,
    /// How its accepting is stalled.
    pub stall: Option<Stall>,
    /// Deadlines.
    pub deadlines: TargetDeadlines,
}

/// Whether a capability is claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// Claimed.
    Claimed,
    /// Disclaimed for this reason.
    Disclaimed(String),
}

/// The launch, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetLaunch {
    /// Program and arguments; never empty.
    pub command: Vec<Template>,
    /// Environment beside `PATH`.
    pub environment: BTreeMap<String, Template>,
    /// Working directory; the run's directory when absent.
    pub directory: Option<Template>,
    /// Umask.
    pub umask: u32,
    /// The launcher exits 0 when the service is up.
    pub returns: bool,
}

/// A file, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFile {
    /// Where.
    pub path: Template,
    /// Content.
    pub content: Template,
    /// Mode.
    pub mode: u32,
    /// Repeat the content up to this size.
    pub bytes: Option<u64>,
}

/// An endpoint, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetEndpoint {
    /// Name for messages.
    pub name: String,
    /// Address and port.
    pub address: SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Path of a fast request.
    pub path: String,
    /// A slow request.
    pub slow: Option<Slow>,
    /// Header that carries the version.
    pub version_header: Option<String>,
    /// Header that echoes `X-Request-Id`.
    pub echo_header: Option<String>,
}

/// Readiness, resolved: endpoints by index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetReady {
    /// A request to this endpoint is answered.
    Answers(usize),
    /// This file exists.
    File(Template),
    /// A line of output contains this text.
    Output(String),
}

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

/// Stop, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetStop {
    /// This signal to main.
    Signal(Signal),
    /// This command.
    Command(Vec<Template>),
}

/// Deadlines as durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetDeadlines {
    /// Launch to ready.
    pub start: Duration,
    /// Trigger to done.
    pub upgrade: Duration,
    /// Done to the old generation gone.
    pub drain: Duration,
    /// Stop asked to main gone.
    pub stop: Duration,
    /// Intended send time to last byte.
    pub request: Duration,
}
