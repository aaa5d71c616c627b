//! The implementation under test, typed: what every other part of the program works with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Signal, TargetFurther, TargetRestart, TargetRestartStep, Template};
use crate::manifest::{Capability, MainProcess, Profile, Program, Protocol, Role, Slow, Stall, Stream, Upload};
use crate::request::Pattern;

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
    /// How its program is built.
    #[serde(default)]
    pub build: Option<TargetBuild>,
    /// Its files.
    pub files: Vec<TargetFile>,
    /// Where it serves; never empty.
    pub endpoints: Vec<TargetEndpoint>,
    /// Further addresses.
    #[serde(default)]
    pub also: Vec<TargetFurther>,
    /// When it is ready.
    pub ready: TargetReady,
    /// Which process is main.
    pub main: MainProcess,
    /// Its pidfile.
    pub pidfile: Option<Template>,
    /// Its log.
    pub log: Option<TargetLog>,
    /// The file that it reads at each upgrade.
    pub config_file: Option<TargetConfigFile>,
    /// The descriptor on which it says that it is ready.
    pub notify_fd: Option<i32>,
    /// Whom it becomes when it drops its privileges.
    pub privileges: Option<TargetPrivileges>,
    /// How its initialisation is slowed down.
    pub slow_init: Option<TargetSlowInit>,
    /// How it is restarted.
    pub restart: Option<TargetRestart>,
    /// How it is stopped.
    pub stop: TargetStop,
    /// Its own commands.
    #[serde(default)]
    pub commands: TargetCommands,
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
    /// Settings of its network namespace.
    #[serde(default)]
    pub sysctl: BTreeMap<String, String>,
    /// Working directory; the run's directory when absent.
    pub directory: Option<Template>,
    /// Umask.
    pub umask: u32,
    /// The launcher exits 0 when the service is up.
    pub returns: bool,
}

/// A build, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetBuild {
    /// Program and arguments; never empty.
    pub command: Vec<Template>,
    /// Environment beside `PATH`.
    pub environment: BTreeMap<String, Template>,
    /// What it leaves.
    pub product: Template,
    /// How long it may take.
    pub limit: Duration,
}

/// A log, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetLog {
    /// Where.
    pub path: Template,
    /// The signal to the main process that lets it open the log anew.
    pub reopen: Signal,
}

/// Whom a target becomes, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPrivileges {
    /// The user, not root.
    pub uid: u32,
    /// The group, not root's.
    pub gid: u32,
    /// Further groups of that user.
    pub groups: Vec<u32>,
    /// Words that make it drop its privileges.
    pub arguments: Vec<Template>,
}

/// A slow initialisation, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSlowInit {
    /// Words that slow it down.
    pub arguments: Vec<Template>,
    /// How long it takes at least.
    pub takes: Duration,
    /// A line of output with this text says that it is complete.
    pub output: String,
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
    /// A long answer.
    pub stream: Option<Stream>,
    /// A request with a body.
    pub upload: Option<Upload>,
    /// Path of a WebSocket that gives each message back.
    #[serde(default)]
    pub websocket: Option<String>,
    /// Length of its accept queue.
    #[serde(default)]
    pub backlog: Option<u32>,
    /// Header that carries the version.
    pub version_header: Option<String>,
    /// Header that echoes `X-Request-Id`.
    pub echo_header: Option<String>,
}

impl Target {
    /// The answers of its first endpoint, which takes the load, tell their version.
    #[must_use]
    pub fn tells_versions(&self) -> bool {
        self.endpoints.first().is_some_and(|endpoint| endpoint.version_header.is_some())
    }

    /// It claims this capability.
    #[must_use]
    pub fn claims(&self, capability: Capability) -> bool {
        self.capabilities.get(&capability) == Some(&Claim::Claimed)
    }

    /// A command triggers its restart, whose exit status tells whoever runs it what came of it.
    #[must_use]
    pub fn is_triggered_by_command(&self) -> bool {
        let trigger = self.restart.as_ref().and_then(|restart| restart.steps.get(restart.trigger()));
        matches!(trigger, Some(TargetRestartStep::Run(_)))
    }
}

impl Target {
    /// Its pidfile as its launch command names it, and the same as seen from its starting directory, which is the run's for it;
    /// `None` where no word of the command names it, or where it starts or writes its pidfile elsewhere.
    #[must_use]
    pub fn relative_pidfile(&self) -> Option<(&str, &str)> {
        let whole = self.pidfile.as_ref()?.as_written();
        let below = whole.strip_prefix("{dir}/")?;
        let starts_there = self.launch.directory.as_ref().is_none_or(|it| it.as_written() == "{dir}");
        let is_named = self.launch.command.iter().any(|word| word.as_written().contains(whole));
        (starts_there && is_named).then_some((whole, below))
    }
}

impl TargetEndpoint {
    /// A request and its answer can say that they are the last ones on their connection.
    #[must_use]
    pub fn announces_ends(&self) -> bool {
        match self.protocol {
            Protocol::Http1 => true,
            Protocol::Echo => false,
        }
    }

    /// It has what requests of this pattern ask for.
    #[must_use]
    pub fn offers(&self, pattern: Pattern) -> bool {
        match pattern {
            Pattern::Slow => self.slow.is_some(),
            Pattern::Reader => self.stream.is_some(),
            Pattern::Upload => self.upload.is_some(),
            Pattern::Websocket => self.websocket.is_some(),
            Pattern::Fresh
            | Pattern::Busy
            | Pattern::Idle
            | Pattern::Silent
            | Pattern::Half
            | Pattern::Parked
            | Pattern::HalfOpen
            | Pattern::H2
            | Pattern::Tls
            | Pattern::Flow
            | Pattern::Canary => true,
        }
    }
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

/// Stop, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetStop {
    /// This signal to main.
    Signal(Signal),
    /// This command.
    Command(Vec<Template>),
}

/// A configuration file, and what makes it invalid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetConfigFile {
    /// Its path.
    pub path: Template,
    /// What lies there when it is invalid.
    pub invalid: String,
}

/// Its own commands, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TargetCommands {
    /// Stops it, wherever the manifest says so.
    pub stop: Option<Vec<Template>>,
    /// Tells whether it runs.
    pub status: Option<Vec<Template>>,
    /// Tests its configuration.
    pub config_test: Option<Vec<Template>>,
}

/// Deadlines as durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetDeadlines {
    /// Launch to ready.
    pub start: Duration,
    /// Launch to the error of a start that hangs, or to the end of a new generation that does, where one is declared.
    pub give_up: Option<Duration>,
    /// Trigger to done.
    pub upgrade: Duration,
    /// Trigger to the first old connection that may be cut, where that is promised.
    pub drain_least: Option<Duration>,
    /// Done to the old generation gone.
    pub drain: Duration,
    /// Stop asked to main gone.
    pub stop: Duration,
    /// Intended send time to last byte.
    pub request: Duration,
    /// Connect to answer of a request that is answered at once, during an upgrade too.
    pub answer: Duration,
}
