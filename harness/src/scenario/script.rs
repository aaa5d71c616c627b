//! The scenario file as written, and its validated form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Broken, Obstacle, PathFault, Resource, Side};
use crate::manifest::{Capability, Profile, Program};
use crate::request::Pattern;

/// The scenario file as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Unique name such as "restart/upgrade-under-load".
    pub name: String,
    /// One line: its purpose.
    pub about: String,
    /// The profile that a target must claim.
    pub profile: Profile,
    /// Capabilities that a target must claim.
    #[serde(default)]
    pub needs: Vec<Capability>,
    /// Part of the core: run by a bare `check` and by `cargo test`.
    #[serde(default)]
    pub core: bool,
    /// Install the seccomp hook on listen(2), where the machine has it.
    #[serde(default)]
    pub listen_hook: bool,
    /// Hold the end of the daemon's start (its listen(2), its pidfile) until the launcher has returned or has shown that
    /// it waits.
    #[serde(default)]
    pub adversary: bool,
    /// What a daemon is launched from.
    #[serde(default)]
    pub launcher: Launcher,
    /// Where the target finds a supervisor to notify (capability `notify`, or `notify-fd`); nowhere when absent.
    #[serde(default)]
    pub notify: Option<NotifyAddress>,
    /// Who runs the target; the harness itself when absent.
    #[serde(default)]
    pub supervisor: Option<Supervisor>,
    /// Lines of the target's unit beside its command, such as `Type=notify`: of `[Service]` until a line such as `[Unit]` names
    /// another section. `{pidfile}` is the target's (`supervisor = "systemd"`).
    #[serde(default)]
    pub unit: Vec<String>,
    /// systemd holds the target's address, by the unit `target.socket`, and hands it over; the target must claim the profile
    /// `activated`.
    #[serde(default)]
    pub socket: bool,
    /// Programs that the scenario needs beside the target's own.
    #[serde(default)]
    pub requires: Vec<Program>,
    /// A busy process for each processor runs beside the target, from the first load until `quiesce`.
    #[serde(default)]
    pub pressed: bool,
    /// Where the target's clients are.
    #[serde(default)]
    pub network: Network,
    /// Ids of the checks that judge it.
    pub checks: Vec<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// Where the target's clients are: the load, and whoever else plays one. What looks at the target stays with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// In the target's network namespace, on its loopback.
    #[default]
    Loopback,
    /// In a network namespace of their own, joined to the target's by a veth(4): each side has its own counters, and the path between
    /// the two can have faults. The target listens on 127.0.0.0/8 as ever.
    Veth,
}

/// What the target is launched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Launcher {
    /// A clean state: a session of its own without a terminal, descriptors 0 to 2 only.
    #[default]
    Clean,
    /// An interactive shell's: part of a session with a controlling terminal, which is its standard input; descriptors 9
    /// (a pipe) and 200 (a socket) left open.
    Terminal,
    /// A launcher of daemons in which TERM, HUP, USR1, USR2 and CHLD are blocked.
    BlockedSignals,
    /// One that ignores HUP and CHLD.
    IgnoredSignals,
    /// One whose umask is 0.
    OpenUmask,
    /// One whose umask is 022.
    UsualUmask,
    /// One whose umask is 077.
    ClosedUmask,
    /// A job's: it leads a process group, and no session.
    GroupLeader,
    /// A script's: it leads neither a session nor a process group.
    Script,
    /// Under nohup(1): HUP is ignored.
    Nohup,
    /// It stands in a directory that has been removed.
    RemovedDirectory,
    /// It is a child of whoever adopts orphans; every other launcher of a daemon has a parent between.
    ChildOfInit,
    /// A container's: the target is pid 1 of a pid namespace of its own.
    Container,
    /// Root's, with supplementary groups beside its own.
    ManyGroups,
}

impl Launcher {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Launcher::Clean => "clean",
            Launcher::Terminal => "terminal",
            Launcher::BlockedSignals => "blocked-signals",
            Launcher::IgnoredSignals => "ignored-signals",
            Launcher::OpenUmask => "open-umask",
            Launcher::UsualUmask => "usual-umask",
            Launcher::ClosedUmask => "closed-umask",
            Launcher::GroupLeader => "group-leader",
            Launcher::Script => "script",
            Launcher::Nohup => "nohup",
            Launcher::RemovedDirectory => "removed-directory",
            Launcher::ChildOfInit => "child-of-init",
            Launcher::Container => "container",
            Launcher::ManyGroups => "many-groups",
        }
    }
}

/// A program that runs the target in the harness's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Supervisor {
    /// nohup(1), from a terminal: it only keeps the hangup away.
    Nohup,
    /// supervisord, with the target as its one program.
    Supervisord,
    /// systemd, with the target as a unit of type notify.
    Systemd,
}

/// The form of a supervisor's address (sd_notify(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyAddress {
    /// A socket with a file.
    Path,
    /// A socket in the abstract namespace.
    Abstract,
    /// No address: the descriptor at the manifest's `notify_fd` (capability `notify-fd`).
    Fd,
    /// A socket with a file, where the target claims `notify`; else nowhere.
    IfClaimed,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Launch the target and wait until it is ready.
    Start,
    /// As `start`, and hold the target in its listen(2) for a second, to see what its supervisor thinks of it then
    /// (`supervisor = "systemd"`).
    StartHeld,
    /// As `start`, from the launcher `open-umask`, which lets every bit through.
    StartUnmasked,
    /// As `start`, with standard input, output and error closed.
    StartClosed,
    /// As `start`, with NOTIFY_SOCKET, LISTEN_PID and LISTEN_FDS in its environment: an address at which nobody listens, and no
    /// socket for another process.
    StartAddressed,
    /// Launch the target while the harness listens on its address, wait until the launcher returns, and clear away
    /// whatever of it is left.
    StartBusy,
    /// The same while a directory stands where its pidfile belongs; nothing where the target has none.
    StartBlocked,
    /// Launch the target and hold its listen(2), or the call that makes its pidfile, until the launcher has returned; clear
    /// away whatever of it is left.
    StartHung,
    /// Send SIGHUP to the main process, give it time to die, and ask until it answers.
    Hup,
    /// Send SIGHUP to the main process, and wait until it has announced a reload and its end (capability
    /// `notify-reload`).
    Reload,
    /// Send requests with `Connection: close`, and wait until the target has closed those connections.
    CloseFirst,
    /// Wait until nothing changes any more, and take a snapshot of the target at rest.
    Rest,
    /// Rename the log, tell the target to open it anew, and send numbered requests before, meanwhile and after (capability
    /// `log`).
    Rotate,
    /// Send this many requests one after the other, each on a fresh connection, until one is not answered.
    Ask {
        /// How many.
        requests: u32,
    },
    /// Launch the target while it runs, wait until the launcher returns, and clear away whatever it left beside.
    StartAgain,
    /// Kill the main process, and start the target again beside its processes that live on; these are ended then (capability
    /// `helpers`).
    RestartBeside,
    /// Launch the target with each of these in its pidfile's place, see what comes of it, and end it again.
    ObstructedStarts(Vec<Obstacle>),
    /// Stop the target by its stop command, then run that once for each kind of number in the pidfile that is not its own
    /// (capability `stop-command`).
    CommandedStops,
    /// Run the status command, stop the target, and run it again with one after the other in the pidfile's place
    /// (capability `status-command`).
    StatusCommands,
    /// Rename another file over the pidfile, as a successor does, and stop the main process by its signal.
    StopSucceeded,
    /// Launch the target with a relative path of the pidfile in its command, look at it at rest, and stop it.
    RelativeStart,
    /// So many launches at the same time; what they left is looked at and cleared away. Once more, as often as said; every
    /// second time the pidfile of a killed daemon lies there.
    RacingStarts {
        /// How many launches.
        starts: u32,
        /// How often.
        rounds: u32,
    },
    /// Type ^C on the launcher's terminal, then close the terminal.
    Hangup,
    /// Launch the target from each of these in turn, look at it at rest, and stop it as declared. One that does not start is
    /// evidence, and cleared away.
    StartsFrom(Vec<Launcher>),
    /// Launch the target from each of these in turn while the harness listens on its address.
    BusyStartsFrom(Vec<Launcher>),
    /// As `start`, by a relative path, from a directory that is removed once the target is ready (capability `exec-self`).
    StartRelative,
    /// Launch the target with each of the marks in its environment by which programs tell themselves that they inherited a
    /// listener, and no listener to inherit: until it answers, or ends, or has been silent for long enough.
    MarkedStarts,
    /// Launch the target, and send its stop signal to the process that stands in its listen(2), which is let go then; nothing
    /// where the target stops by a command.
    EarlyStop,
    /// Launch the target with LISTEN_PID and LISTEN_FDS in its environment as they were meant for another process: until it
    /// answers, or ends, or is stopped by the start deadline.
    StaleListenPid,
    /// Begin these load patterns (they go on until `quiesce`).
    Load(Vec<Pattern>),
    /// Let the load run this long without a restart: the baseline that must be clean.
    Baseline {
        /// How long.
        ms: u64,
    },
    /// Make the executables of so many next versions beside their place: each deploy is a rename then, and its trigger
    /// follows at once.
    Prepare {
        /// How many.
        versions: u32,
    },
    /// Wait until the last start, or upgrade, has said that its initialisation is complete (capability `slow-init`).
    Initialised,
    /// One upgrade by the manifest's restart steps, until its done event.
    Upgrade,
    /// The restart steps with a broken executable in place of `{self}`, or an invalid configuration; the load goes on this long
    /// after that was taken up (capability `exec-self`, or `config-file`).
    BrokenUpgrade {
        /// How long.
        ms: u64,
        /// What is broken.
        #[serde(default)]
        fault: Broken,
    },
    /// The restart steps; as soon as a process that began after the trigger holds the listener, this side of the upgrade is
    /// killed (the new one with all that it has started), and the load goes on this long.
    KillInUpgrade {
        /// Whom.
        side: Side,
        /// How long.
        ms: u64,
    },
    /// The restart steps; one side of the upgrade is stopped with SIGSTOP, continued this much later, and the load goes on: the new
    /// one, with all that it has started, as soon as it has begun, and the old one as soon as a process that began after the trigger
    /// holds the listener.
    SuspendInUpgrade {
        /// Whom.
        side: Side,
        /// For how long.
        ms: u64,
        /// How long the load goes on then.
        after_ms: u64,
    },
    /// One upgrade; as soon as it is done the new generation is killed, with all that it has started, and the load goes on this
    /// long (capability `respawn`).
    KillAfterUpgrade {
        /// How long.
        ms: u64,
    },
    /// The restart steps while the target gets no more of something that an upgrade may need; the load goes on this long until
    /// there is enough of it again, and after that. What comes of the upgrade is the target's business.
    UpgradeWithout {
        /// What it goes without.
        resource: Resource,
        /// For how long.
        ms: u64,
        /// How long the load goes on then.
        after_ms: u64,
    },
    /// One upgrade while the path between the target and its clients has a fault: from right before the trigger on, for so long, but it
    /// ends no sooner than the upgrade is done (`network = "veth"`).
    UpgradeAcross {
        /// Which.
        fault: PathFault,
        /// For how long.
        ms: u64,
    },
    /// One upgrade until the old generation is gone, and numbered requests before, meanwhile and after (capability `log`).
    UpgradeLogged,
    /// One upgrade until the old generation is gone, and a request to each further address before, again and again meanwhile, and
    /// after (capability `listeners`).
    UpgradeListeners,
    /// So many upgrades one after the other under the load, each until the generation before is gone; after each the load
    /// is interrupted for a snapshot of the target at rest.
    Sequential {
        /// How many.
        upgrades: u32,
    },
    /// One upgrade whose signal is sent this many times, evenly spread; then until nothing more happens, and a snapshot
    /// before and after.
    Storm {
        /// How many signals.
        triggers: u32,
        /// From the first to the last, in milliseconds.
        within_ms: u64,
    },
    /// Open this many connections, send half a request on each, and keep them until `stop`.
    Hold {
        /// How many.
        connections: u32,
    },
    /// Measure for so long what the generation before the last upgrade does with the processors, while it drains.
    WatchDrain {
        /// How long.
        ms: u64,
    },
    /// Have the target test its configuration this many times, one after the other.
    ConfigTests {
        /// How many.
        tests: u32,
    },
    /// Watch the connections of `hold` after an upgrade until they have all ended. One of them sends the rest of its request this
    /// long before the target may cut it (`deadlines.drain_least_ms`).
    WatchHeld {
        /// How long before.
        ms: u64,
    },
    /// Close the connections of `hold`.
    Release,
    /// Kill the main process, and wait for what its supervisor makes of that; where that holds its socket, send a request at
    /// once.
    KillMain,
    /// Kill the main process again and again, until systemd does not start it any more.
    KillOut,
    /// Send the stop signal to the main process behind systemd's back, wait for its end and for three times the pause before
    /// a restart.
    EndMain,
    /// Stop the service but not its socket, and send a request, which starts it (`socket = true`).
    AskStopped,
    /// Read the resource limits of the main process and of all that serve, and those that systemd gives.
    Limits,
    /// Deploy a new version, have systemd reload the unit, and wait until the done event.
    UnitReload,
    /// Wait for twice the unit's WatchdogSec=, and see what systemd thinks of it (capability `watchdog`).
    AwaitWatchdog,
    /// Start the stopped unit with TimeoutStartSec=300ms, and hold it in its listen(2) until systemd has lost patience.
    StartTimedOut,
    /// Leave a process to the main process, which is pid 1 of its namespace, let it end, and see whether it is waited for
    /// (`launcher = "container"`).
    Orphan,
    /// Stop the main process with SIGSTOP, and continue it with SIGCONT once it stands still.
    Suspend,
    /// Wait until the previous generation is gone (or its drain deadline passed), with the load on.
    Settle,
    /// Change the watched file in this way and wait until the done event, then until nothing more happens.
    Change(Way),
    /// Stop the accepting processes as the manifest's `stall` says.
    Stall,
    /// Complete this many connections into the accept queue and send a request on each at once.
    Park {
        /// How many.
        connections: u32,
    },
    /// Let the stalled processes run again.
    Unstall,
    /// Open this many connections whose handshakes lack their last ACK, which is dropped until `complete`.
    HalfOpen {
        /// How many.
        connections: u32,
    },
    /// Let the ACKs of half-open handshakes through again, and send a request on each of those connections.
    Complete,
    /// Stop the schedule and wait until every request in flight has ended.
    Quiesce,
    /// Stop the target and wait until it is gone.
    Stop,
    /// Look for leftovers.
    Scan,
}

/// A way in which a watched file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// A new file renamed over it.
    Rename,
    /// Only its times change.
    Touch,
    /// A symlink switched (the watched path is replaced by a symlink to a new file).
    Symlink,
    /// Removed, created anew, half of it written, later the other half.
    HalfWritten,
    /// Written in place (data files only: a running executable gives ETXTBSY).
    InPlace,
}

impl Way {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Way::Rename => "rename",
            Way::Touch => "touch",
            Way::Symlink => "symlink",
            Way::HalfWritten => "half-written",
            Way::InPlace => "in-place",
        }
    }
}

/// The JSON Schema of a scenario, generated from its types. `docs/scenario.schema.json` is this.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Script).to_value()
}

impl Step {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Step::Start => "start",
            Step::StartBusy => "start-busy",
            Step::StartBlocked => "start-blocked",
            Step::StartHung => "start-hung",
            Step::Hup => "hup",
            Step::Reload => "reload",
            Step::CloseFirst => "close-first",
            Step::Rest => "rest",
            Step::Rotate => "rotate",
            Step::Ask { .. } => "ask",
            Step::StartAgain => "start-again",
            Step::StartHeld => "start-held",
            Step::StartTimedOut => "start-timed-out",
            Step::StartUnmasked => "start-unmasked",
            Step::StartClosed => "start-closed",
            Step::StartAddressed => "start-addressed",
            Step::RestartBeside => "restart-beside",
            Step::RacingStarts { .. } => "racing-starts",
            Step::ObstructedStarts(_) => "obstructed-starts",
            Step::CommandedStops => "commanded-stops",
            Step::StatusCommands => "status-commands",
            Step::StopSucceeded => "stop-succeeded",
            Step::RelativeStart => "relative-start",
            Step::Hangup => "hangup",
            Step::StartsFrom(_) => "starts-from",
            Step::BusyStartsFrom(_) => "busy-starts-from",
            Step::StartRelative => "start-relative",
            Step::MarkedStarts => "marked-starts",
            Step::EarlyStop => "early-stop",
            Step::StaleListenPid => "stale-listen-pid",
            Step::Hold { .. } => "hold",
            Step::Load(_) => "load",
            Step::Baseline { .. } => "baseline",
            Step::Prepare { .. } => "prepare",
            Step::Initialised => "initialised",
            Step::Upgrade | Step::UpgradeLogged | Step::UpgradeListeners => self.upgrade_word(),
            Step::BrokenUpgrade { .. } | Step::UpgradeWithout { .. } | Step::UpgradeAcross { .. } => {
                self.upgrade_word()
            }
            Step::KillInUpgrade { .. } | Step::KillAfterUpgrade { .. } => self.upgrade_word(),
            Step::SuspendInUpgrade { .. } => self.upgrade_word(),
            Step::Sequential { .. } => "sequential",
            Step::Storm { .. } => "storm",
            Step::WatchDrain { .. } => "watch-drain",
            Step::ConfigTests { .. } => "config-tests",
            Step::WatchHeld { .. } => "watch-held",
            Step::Release => "release",
            Step::KillMain => "kill-main",
            Step::KillOut => "kill-out",
            Step::EndMain => "end-main",
            Step::AskStopped => "ask-stopped",
            Step::Limits => "limits",
            Step::UnitReload => "unit-reload",
            Step::AwaitWatchdog => "await-watchdog",
            Step::Orphan => "orphan",
            Step::Suspend => "suspend",
            Step::Settle => "settle",
            Step::Change(_) => "change",
            Step::Stall => "stall",
            Step::Park { .. } => "park",
            Step::Unstall => "unstall",
            Step::HalfOpen { .. } => "half-open",
            Step::Complete => "complete",
            Step::Quiesce => "quiesce",
            Step::Stop => "stop",
            Step::Scan => "scan",
        }
    }

    /// The same of a step that is one upgrade.
    fn upgrade_word(&self) -> &'static str {
        match self {
            Step::Upgrade => "upgrade",
            Step::BrokenUpgrade { .. } => "broken-upgrade",
            Step::KillInUpgrade { .. } => "kill-in-upgrade",
            Step::SuspendInUpgrade { .. } => "suspend-in-upgrade",
            Step::KillAfterUpgrade { .. } => "kill-after-upgrade",
            Step::UpgradeWithout { .. } => "upgrade-without",
            Step::UpgradeAcross { .. } => "upgrade-across",
            Step::UpgradeLogged => "upgrade-logged",
            Step::UpgradeListeners => "upgrade-listeners",
            other => unreachable!("{other:?} is not one upgrade"),
        }
    }
}

/// A validated scenario: its checks exist, its steps stand in an order that can be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scenario(pub(crate) Script);

impl Scenario {
    /// What was written.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.0
    }

    /// A target that can be slow to initialise is, here: it is about that, or strikes at a new generation that is not ready yet.
    #[must_use]
    pub fn slows_initialisation(&self) -> bool {
        let strikes = |step: &Step| matches!(step, Step::KillInUpgrade { side: Side::New, .. });
        self.0.needs.contains(&Capability::SlowInit) || self.0.steps.iter().any(strikes)
    }

    /// The same with so many upgrades one after the other; `None` where it makes none in a row.
    #[must_use]
    pub fn with_sequential(&self, upgrades: u32) -> Option<Scenario> {
        let mut script = self.0.clone();
        let mut steps = script.steps.iter_mut().filter(|step| matches!(step, Step::Sequential { .. })).peekable();
        steps.peek()?;
        steps.for_each(|step| *step = Step::Sequential { upgrades });
        Some(Scenario(script))
    }

    /// The same with so many upgrades one after the other, and the load running for a while around each; `None` where it makes none in a
    /// row.
    #[must_use]
    pub fn with_paced(&self, upgrades: u32, pace: Pace) -> Option<Scenario> {
        let mut script = self.0.clone();
        let at = script.steps.iter().position(|step| matches!(step, Step::Sequential { .. }))?;
        let pause = |ms| Step::Baseline { ms };
        // A copy of this program takes a processor for some 10 ms: it is made before the load is looked at.
        let prepare = Step::Prepare { versions: 1 };
        let once = [prepare, pause(pace.before_ms), Step::Upgrade, Step::Settle, pause(pace.after_ms), Step::Rest];
        let all = (0..upgrades).flat_map(|_| once.clone());
        script.steps.splice(at..=at, all);
        Some(Scenario(script))
    }
}

/// How long the load runs without interruption, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Before a trigger.
    pub before_ms: u64,
    /// After the old generation is gone.
    pub after_ms: u64,
}
