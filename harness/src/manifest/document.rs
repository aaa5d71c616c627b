//! The manifest file as written: a serde mirror of `target.toml`, nothing else.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Restart;

/// A target: how to start it, load it, restart it and stop it, and what it claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Unique name such as "reference/exec-inherit" or "nginx/hup".
    pub name: String,
    /// One line: what it is.
    pub about: String,
    /// What part it plays in the suite; a stranger's server is a peer.
    #[serde(default)]
    pub role: Role,
    /// Profiles it claims. A profile claims all its MUSTs.
    pub profiles: Vec<Profile>,
    /// Optional capabilities it claims.
    #[serde(default)]
    pub claims: Vec<Capability>,
    /// Capabilities it disclaims, each with the reason that is printed beside the verdict.
    #[serde(default)]
    pub disclaims: BTreeMap<Capability, String>,
    /// Programs it needs on this machine.
    #[serde(default)]
    pub requires: Vec<Program>,
    /// The command that starts it.
    pub launch: Launch,
    /// How its program is built, once for all runs.
    #[serde(default)]
    pub build: Option<Build>,
    /// Files written before the start and, where they hold `{version}`, at each deploy.
    #[serde(default)]
    pub files: Vec<File>,
    /// Where it serves. The first one is loaded.
    pub endpoints: Vec<Endpoint>,
    /// Further addresses on which it serves the same (capability `listeners`): `127.0.0.1:8001`, `[::1]:8001-8004`,
    /// `127.0.0.1:8001*2` (two sockets with one address), `udp:127.0.0.1:8001` (datagrams, which come back; capability `udp`), `tls:127.0.0.1:8443`
    /// (over TLS; capability `tls`), `h2:127.0.0.1:8002` (over HTTP/2 with prior knowledge; capability `h2`),
    /// `unix:{dir}/PATH`, `unix:@NAME`. One with `{version}` in it moves with each
    /// version.
    #[serde(default)]
    pub also: Vec<String>,
    /// When it is ready.
    pub ready: Ready,
    /// Which process is the main process: the one that the stop signal ends.
    #[serde(default)]
    pub main: MainProcess,
    /// Path of its pidfile (capability `pidfile`).
    #[serde(default)]
    pub pidfile: Option<String>,
    /// Its log file (capability `log`).
    #[serde(default)]
    pub log: Option<LogFile>,
    /// A file that it reads at each upgrade (capability `config-file`).
    #[serde(default)]
    pub config_file: Option<ConfigFile>,
    /// The descriptor on which it says that it is ready: a newline, then the end (capability `notify-fd`).
    #[serde(default)]
    pub notify_fd: Option<i32>,
    /// Whom it becomes when it drops its privileges (capability `privileges`).
    #[serde(default)]
    pub privileges: Option<Privileges>,
    /// How its initialisation is slowed down (capability `slow-init`).
    #[serde(default)]
    pub slow_init: Option<SlowInit>,
    /// How it is restarted (profile `restart`).
    #[serde(default)]
    pub restart: Option<Restart>,
    /// How it is stopped.
    pub stop: Stop,
    /// Its own commands that find it by its pidfile.
    #[serde(default)]
    pub commands: Commands,
    /// How its accepting is stalled so that the accept queue fills (capability `stall`).
    #[serde(default)]
    pub stall: Option<Stall>,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// The part that a target plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Ours and correct: must pass everything it claims.
    Reference,
    /// Known bad way of restarting: its failures are expectations.
    Control,
    /// Must never pass.
    Null,
    /// A stranger's server.
    #[default]
    Peer,
}

/// A kind of service that a target claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Puts itself into the background.
    Daemon,
    /// Runs under a supervisor.
    Foreground,
    /// Claims graceful upgrades.
    Restart,
    /// Has its sockets handed to it.
    Activated,
}

impl Profile {
    /// The word as it stands in manifests and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Profile::Daemon => "daemon",
            Profile::Foreground => "foreground",
            Profile::Restart => "restart",
            Profile::Activated => "activated",
        }
    }
}

/// An optional capability; only these can be disclaimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Writes a pidfile.
    Pidfile,
    /// Starts helper processes.
    Helpers,
    /// Has a command that stops it.
    StopCommand,
    /// Has a command that tells whether it runs.
    StatusCommand,
    /// Its initialisation can be slowed down.
    SlowInit,
    /// Its accepting can be stalled.
    Stall,
    /// Can test its configuration.
    ConfigTest,
    /// Speaks sd_notify(3).
    Notify,
    /// Announces reloads by sd_notify(3).
    NotifyReload,
    /// Listens on further addresses (`also`).
    Listeners,
    /// Listens on a UNIX socket with a file (`also`).
    Unix,
    /// Answers datagrams with the same bytes (`also`), and its version behind them where it tells versions.
    Udp,
    /// Serves the same over TLS (`also`).
    Tls,
    /// Serves the same over HTTP/2 (`also`).
    H2,
    /// Serves WebSocket.
    Websocket,
    /// Can chroot(2).
    Chroot,
    /// Can drop privileges.
    Privileges,
    /// Watches a file and restarts when it changes (`restart.watch`).
    Watch,
    /// A restart executes `{self}` again, so that it can be given a broken executable.
    ExecSelf,
    /// Writes a newline to an agreed descriptor when it is ready (s6, `notification-fd`).
    NotifyFd,
    /// Tells a supervisor that it is well, as often as that asks for (WATCHDOG=1, sd_watchdog_enabled(3)).
    Watchdog,
    /// Leaves descriptors with its supervisor, and takes them up again (FDSTORE=1, sd_notify(3)).
    FdStore,
    /// Promises old connections a time in which it does not cut them (`deadlines.drain_least_ms`).
    DrainDeadline,
    /// Reads a configuration file at each upgrade (`config_file`).
    ConfigFile,
    /// Its main process starts a worker, or a generation, again that has died.
    Respawn,
    /// Writes a log file in which a line for each request names its path, and opens it anew when told to.
    Log,
    /// An upgrade starts a new process. Taken for granted of whoever claims `restart`: to be disclaimed by those who do it within the
    /// one that they have.
    Successor,
}

impl Capability {
    /// The word as it stands in manifests and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Capability::Pidfile => "pidfile",
            Capability::Helpers => "helpers",
            Capability::StopCommand => "stop-command",
            Capability::StatusCommand => "status-command",
            Capability::SlowInit => "slow-init",
            Capability::Stall => "stall",
            Capability::ConfigTest => "config-test",
            Capability::Notify => "notify",
            Capability::NotifyReload => "notify-reload",
            Capability::Watchdog => "watchdog",
            Capability::FdStore => "fd-store",
            Capability::Listeners => "listeners",
            Capability::Unix => "unix",
            Capability::Udp => "udp",
            Capability::Tls => "tls",
            Capability::H2 => "h2",
            Capability::Websocket => "websocket",
            Capability::Chroot => "chroot",
            Capability::Privileges => "privileges",
            Capability::Watch => "watch",
            Capability::ExecSelf => "exec-self",
            Capability::NotifyFd => "notify-fd",
            Capability::DrainDeadline => "drain-deadline",
            Capability::ConfigFile => "config-file",
            Capability::Respawn => "respawn",
            Capability::Log => "log",
            Capability::Successor => "successor",
        }
    }
}

/// A program that must be on PATH, or a file that must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its name, or its whole path.
    pub program: String,
    /// The command that installs it, shown when it is missing.
    pub install: String,
}

/// The launch, from a clean state: default signal dispositions, empty mask, only descriptors 0–2, the given
/// environment and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Program and arguments. The program is looked up on PATH unless it has a slash.
    pub command: Vec<String>,
    /// Environment beside `PATH`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Settings of its network namespace, such as `"net.ipv4.tcp_migrate_req" = "1"`: written before the launch (sysctl(8)), in
    /// tiers A and B.
    #[serde(default)]
    pub sysctl: BTreeMap<String, String>,
    /// Working directory; the run's directory when absent.
    #[serde(default)]
    pub directory: Option<String>,
    /// Umask as an octal text such as "022".
    #[serde(default = "default_umask")]
    pub umask: String,
    /// The launcher exits 0 when the service is up (a daemon); otherwise it stays as the main process.
    #[serde(default)]
    pub returns: bool,
}

fn default_umask() -> String {
    "022".to_owned()
}

/// How a target's program is built: once for all runs of a command, before the first, where its files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Program and arguments; it must exit 0.
    pub command: Vec<String>,
    /// Environment beside `PATH`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The program that it leaves, below `{dir}`: copied to the same place of each run.
    pub product: String,
}

/// A file that the target needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where: below `{dir}`.
    pub path: String,
    /// Its content, with placeholders.
    pub content: String,
    /// Mode as an octal text.
    #[serde(default = "default_mode")]
    pub mode: String,
    /// Repeat the content until the file has this many bytes (bodies for slow answers).
    #[serde(default)]
    pub bytes: Option<u64>,
}

fn default_mode() -> String {
    "0644".to_owned()
}

/// An address that the target serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Name for messages.
    pub name: String,
    /// "127.0.0.1:10086".
    pub address: String,
    /// The protocol spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// Path of a request that is answered at once; of an echo, what its line begins with.
    #[serde(default = "default_path")]
    pub path: String,
    /// A request that takes long.
    #[serde(default)]
    pub slow: Option<Slow>,
    /// A long answer, for clients that read slowly.
    #[serde(default)]
    pub stream: Option<Stream>,
    /// A request with a body, for clients that send slowly.
    #[serde(default)]
    pub upload: Option<Upload>,
    /// Path of a WebSocket that gives each message back (capability `websocket`).
    #[serde(default)]
    pub websocket: Option<String>,
    /// Length of its accept queue, as `ss -ltn` shows it (Send-Q): what listen(2) was given, at most net.core.somaxconn.
    #[serde(default)]
    pub backlog: Option<u32>,
    /// Name of the answer header that carries the deployed version as a decimal number.
    #[serde(default)]
    pub version_header: Option<String>,
    /// Name of the answer header that echoes `X-Request-Id`; absent when the server cannot echo.
    #[serde(default)]
    pub echo_header: Option<String>,
}

fn default_path() -> String {
    "/".to_owned()
}

/// A request whose answer takes about this long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Its path.
    pub path: String,
    /// About how long the whole answer takes.
    pub takes_ms: u64,
}

/// A request whose answer is long, and the same each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Its path.
    pub path: String,
    /// Length of the body: at least 16 MiB, because the kernel's buffers swallow a few.
    pub bytes: u64,
    /// The body repeats itself after so many bytes; a prime shows lost and swapped blocks best.
    #[serde(default = "default_period")]
    pub period: u64,
}

fn default_period() -> u64 {
    251
}

/// A request whose body is read to its end before it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// The path that takes a POST of 256 KiB.
    pub path: String,
}

/// The protocol of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    #[default]
    Http1,
    /// Raw echo: whatever a client sends comes back byte by byte. A request is the line `PATH ID`, and its answer is the same
    /// line.
    Echo,
}

impl Protocol {
    /// The word as it stands in manifests and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Http1 => "http1",
            Protocol::Echo => "echo",
        }
    }
}

/// When a freshly launched target is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ready {
    /// A request to this endpoint is answered.
    Answers(String),
    /// This file exists.
    File(String),
    /// A line of its output contains this text.
    Output(String),
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// Its path. A line for each request names the request's path.
    pub path: String,
    /// How the target is told to open it anew, once it was renamed.
    pub reopen: Reopen,
}

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Its path, which is there once the target's files are written.
    pub path: String,
    /// What is put there to make an upgrade fail: nothing that the target would take for a configuration.
    pub invalid: String,
}

/// How a target is told to open its log anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reopen {
    /// This signal to the main process.
    Signal(String),
}

/// Whom a target becomes when it drops its privileges. By numbers: nothing else is found in `/proc/PID/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Privileges {
    /// The user, not 0.
    pub uid: u32,
    /// The group, not 0.
    pub gid: u32,
    /// Further groups that are that user's.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Words after the launch command that make it drop them; none where it always does.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// How a target's initialisation is slowed down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlowInit {
    /// Words after the launch command that slow it down, at the start and at each upgrade.
    pub arguments: Vec<String>,
    /// How long it takes at least, then.
    pub takes_ms: u64,
    /// A line of its output with this text says that it is complete, of each generation anew.
    pub output: String,
}

/// Which process is main.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MainProcess {
    /// The launched one.
    #[default]
    Launched,
    /// The one named in the pidfile.
    Pidfile,
}

/// How the target is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stop {
    /// This signal to the main process.
    Signal(String),
    /// This command, which must exit 0.
    Command(Vec<String>),
}

/// Commands beside a running target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Commands {
    /// Stops it (capability `stop-command`); `stop.command` when absent.
    pub stop: Option<Vec<String>>,
    /// Tells whether it runs (capability `status-command`).
    pub status: Option<Vec<String>>,
    /// Tests its configuration, and exits 0 when that is good (capability `config-test`).
    pub config_test: Option<Vec<String>>,
}

/// How accepting is stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stall {
    /// SIGSTOP every process that accepts on the endpoints, the main process spared; SIGCONT after the handoff.
    StopWorkers,
    /// Hold so many connections open until after the handoff: as many as one generation has at most, so that it accepts no more.
    Connections(NonZeroU32),
}

/// How long things may take, in milliseconds. Generous: never tuned to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// Begin of the build to its end.
    pub build_ms: u64,
    /// Launch to ready.
    pub start_ms: u64,
    /// Launch to the launcher's error, of a start that hangs (profile `daemon`), and the start of a new generation that
    /// hangs to its end (profile `restart`); absent when it is waited for, for ever.
    pub give_up_ms: Option<u64>,
    /// Trigger to done.
    pub upgrade_ms: u64,
    /// Trigger to the first old connection that may be cut, with a request in it; absent when none is promised so much
    /// (capability `drain-deadline`).
    pub drain_least_ms: Option<u64>,
    /// Done to the old generation gone.
    pub drain_ms: u64,
    /// Stop asked to the main process gone.
    pub stop_ms: u64,
    /// Intended send time to the last byte of the answer.
    pub request_ms: u64,
    /// Connect to the answer of a request that is answered at once, during an upgrade too: the longest that is right.
    pub answer_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            build_ms: 120_000,
            start_ms: 10_000,
            give_up_ms: None,
            upgrade_ms: 15_000,
            drain_least_ms: None,
            drain_ms: 15_000,
            stop_ms: 10_000,
            request_ms: 10_000,
            answer_ms: 1000,
        }
    }
}
