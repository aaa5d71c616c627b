//! Everything that observers and steps saw, as data. One recorder numbers the events and writes them down;
//! checks read nothing else (besides the request records).

mod broken;
mod change;
mod control;
mod held;
mod killing;
mod launch;
mod listeners;
mod log;
mod path;
mod rest;
mod sink;
mod start;
mod supervise;
mod withheld;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Interval;
use crate::id::{Cookie, Image, Pid, UpgradeId, Version};

pub use broken::Broken;
pub use change::{PidfileChange, ProcessChange};
pub use control::{CommandedStatus, CommandedStop, DatedLook, RelativeStart, Stranger, Succession};
pub use held::{HeldChange, HeldEnd};
pub use killing::{Killing, Side, Suspension};
pub use launch::{
    Answer, Artefact, DaemonPortrait, Identity, LauncherReturn, LauncherTies, Occasion, OpenDescriptor,
    ProcessPortrait, StartFrom, ThreadPortrait,
};
pub use listeners::{AskedListener, Fate, Sockets};
pub use log::{LogPortrait, LogWriter};
pub use path::{PassedShape, PathCleared, PathDisturbed, PathFault, PathMet, Shape};
pub use rest::{AtRest, DrainWatched, Microseconds, ProcessorTime, Resident};
pub use sink::Sink;
pub use start::{FileKind, FileLook, Obstacle, ObstructedStart, RestartBeside, SecondStart, StartRace};
pub use supervise::{
    Absence, ComeBack, Limit, Limits, LimitsSeen, ProcessLimits, QueuedRequest, SupervisedStop, UnitMoment,
};
pub use withheld::{Resource, Restored, Withheld};

/// One event: number, time, and what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the history, from 0.
    pub seq: u64,
    /// When, as an interval on the run's clock.
    pub at: Interval,
    /// What.
    pub what: What,
}

/// The phase of a run, for progress and for those who interrupt it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Making namespaces, directories, files.
    Sandbox,
    /// Launching the target and waiting until it is ready.
    Start,
    /// The same through a supervisor, which is started first.
    Supervise,
    /// Load without a restart.
    Load,
    /// The restart steps, from the trigger to the done event.
    Trigger,
    /// The old generation finishing its work.
    Drain,
    /// Stopping the target, scanning for leftovers, taking the sandbox down.
    Teardown,
}

impl Phase {
    /// The word as it stands in progress lines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Phase::Sandbox => "sandbox",
            Phase::Start => "start",
            Phase::Supervise => "supervise",
            Phase::Load => "load",
            Phase::Trigger => "trigger",
            Phase::Drain => "drain",
            Phase::Teardown => "teardown",
        }
    }
}

/// A listening TCP socket as inet_diag shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its identity.
    pub cookie: Cookie,
    /// Local address, "127.0.0.1:10086".
    pub address: String,
    /// Inode; 0 when no process holds it any more.
    pub inode: u64,
    /// Connections completed but not accepted.
    pub queued: u32,
    /// Listen backlog.
    pub backlog: u32,
}

/// How a process ended (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// exit(2) with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
    /// It is gone; its status could not be learnt.
    Unknown,
}

/// A process, listener or file that should not be there after the stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftover {
    /// A process of the target still lives.
    Process {
        /// Its image.
        image: Image,
        /// Its command line.
        command: String,
    },
    /// A socket still listens.
    Listener(Listener),
    /// A UNIX socket file that it bound is still there.
    SocketFile(String),
}

/// A call that stands at the end of a daemon's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartupCall {
    /// listen(2) on this address of the endpoints.
    Listen(String),
    /// A call that opens the pidfile for writing, or gives its name to a file.
    Pidfile,
}

/// Why a held call of a daemon's start was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Released {
    /// The launcher had returned although the call was not done: it does not wait, or gave up.
    LauncherReturned,
    /// The launcher has shown that it waits.
    LauncherWaited,
}

/// What a target did that found a mark of inheritance and nothing to inherit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkedOutcome {
    /// It answered on its own address: the mark was ignored.
    Answered,
    /// It ended without answering.
    Ended(ExitStatus),
    /// It lived on and never answered, for twice as long as a clean start takes.
    Silent,
}

/// The name of the [`What::ActionFailed`] that tells that the main process was not to be found.
pub const FIND_MAIN: &str = "find the main process";

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A phase of the run began.
    Phase(Phase),
    /// A step of the scenario began (interval: one instant).
    StepBegan {
        /// Index in the scenario.
        index: usize,
        /// The step as written.
        step: String,
    },
    /// The launch: the target's first process exists.
    Launched {
        /// Its pid.
        pid: Pid,
        /// Its command line.
        command: Vec<String>,
    },
    /// A launcher that returns has ended, and what was found at that instant.
    LauncherReturned(LauncherReturn),
    /// A daemon at rest after its start, and what still ties it to its launcher.
    Daemonised(DaemonPortrait),
    /// A daemon was launched from somewhere else than its scenario's launcher, and stopped again.
    StartedFrom(StartFrom),
    /// Requests were sent one after the other, until one was not answered.
    Asked {
        /// What each met.
        answers: Vec<Answer>,
    },
    /// The target was launched while it ran.
    StartedAgain(SecondStart),
    /// The target was launched with something in the pidfile's place.
    StartedObstructed(ObstructedStart),
    /// The main process was killed, and the target started again beside what it had started.
    RestartedBeside(RestartBeside),
    /// The target's stop command was run while the pidfile named somebody else.
    CommandedStop(CommandedStop),
    /// The target's status command was run.
    CommandedStatus(CommandedStatus),
    /// The target was stopped when another file was in its pidfile's place.
    Succeeded(Succession),
    /// The target was launched with a relative path of its pidfile.
    StartedRelative(RelativeStart),
    /// The target was launched several times at once.
    StartsRaced(StartRace),
    /// ^C was typed on the launcher's terminal, then the terminal was closed.
    HungUp {
        /// The main process lived on.
        lives: bool,
        /// What a client met after that.
        answer: Answer,
    },
    /// The supervisor was waited for after a start of its program.
    Supervised {
        /// It calls the program running.
        running: bool,
        /// How often it has started it.
        starts: usize,
    },
    /// What systemd showed of the target's unit.
    Unit {
        /// When it was asked.
        moment: UnitMoment,
        /// Its properties (systemctl(1), `show`).
        properties: BTreeMap<String, String>,
        /// Its MainPID, as the target's world knows that process.
        main: Option<Pid>,
        /// The process that serves: the nearest that is, or is an ancestor of, all that hold a listener.
        server: Option<Pid>,
    },
    /// The main process was killed under its supervisor.
    CameBack(ComeBack),
    /// A request was sent while nobody of the target was there, to the socket that its supervisor holds.
    QueuedRequest(QueuedRequest),
    /// The resource limits of the processes that serve.
    Limits(LimitsSeen),
    /// The supervisor was told to stop its program, and has.
    SupervisedStop(SupervisedStop),
    /// A start that was made to hang is over, or its deadline has passed.
    HungStartOver {
        /// Processes of the target that still lived, some time after a launcher that gave up had returned.
        living: Vec<Image>,
    },
    /// The target told its supervisor something (sd_notify(3)); stamped by the kernel when it was sent.
    Notified {
        /// The sender; `None` when it had ended before it could be told who it was.
        pid: Option<Pid>,
        /// The fields of the message.
        fields: Vec<String>,
    },
    /// Something came from the descriptor of the target's notification.
    NotifiedFd {
        /// The bytes, lossily decoded.
        text: String,
        /// No process holds its other end any more.
        closed: bool,
    },
    /// SIGHUP was sent to the main process, which is to announce a reload and its end.
    ReloadAsked,
    /// SIGHUP was sent to the main process.
    HupSent {
        /// It lived on.
        lives: bool,
        /// What a client met after that, at last.
        answer: Answer,
    },
    /// Connections of ours, answered with the announcement that they end, were closed by the target first.
    ClosedFirst {
        /// How many connections of the endpoint's port are in TIME_WAIT now.
        time_wait: usize,
    },
    /// The log as it lies there now.
    LogSeen(LogPortrait),
    /// The log was renamed and the target told to open it anew.
    LogRotated {
        /// Somebody has a file open for writing at the old path again.
        reopened: bool,
        /// The numbers of the requests that were answered before, meanwhile and after.
        answered: Vec<u32>,
    },
    /// The log was written through an upgrade, until the old generation was gone.
    LogSpanned {
        /// The numbers of the requests that were answered before, meanwhile and after.
        answered: Vec<u32>,
    },
    /// A log, the moved one or the new one, as it was after the stop.
    LogRead {
        /// Its path.
        path: String,
        /// The numbers of our requests in the order of its lines.
        numbers: Vec<u32>,
    },
    /// The further listeners were asked through an upgrade, until the old generation was gone.
    ListenersAsked(Vec<AskedListener>),
    /// Who serves, right after a target that stays in the foreground was ready.
    Serving {
        /// The process that was launched.
        launched: Pid,
        /// The images that hold a listener of the endpoints.
        holders: Vec<Image>,
        /// Those of them that do not descend from the launched process.
        strays: Vec<Image>,
    },
    /// The declared readiness was seen.
    Ready {
        /// By what ("answers on http").
        by: String,
    },
    /// A process was identified as main (manifest's `main`, confirmed alive).
    Main {
        /// Its image.
        image: Image,
    },
    /// Files were rendered with this version.
    Deployed {
        /// The version.
        version: Version,
    },
    /// The first acting step of an upgrade is about to run. `not_before` is stamped before it, `not_after` after it.
    Triggered {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// The version that it brings.
        version: Version,
        /// The action ("signal HUP to main, pid 12").
        action: String,
    },
    /// The first acting step of an upgrade that must fail is about to run.
    BrokenTriggered {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// The action.
        action: String,
        /// What is broken.
        #[serde(default)]
        fault: Broken,
    },
    /// The broken executable was executed, and left its mark before anything else, or the invalid configuration was opened
    /// (`not_before`: the last look without that).
    BrokenRan {
        /// Which upgrade.
        upgrade: UpgradeId,
    },
    /// The process of a broken executable that hangs is gone (`not_before`: the last look at it).
    BrokenEnded {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// Nobody had ended it within the limit, so we did.
        by_harness: bool,
    },
    /// Processes were killed in the middle of an upgrade (`not_after`: they were gone).
    Killed(Killing),
    /// Processes were stopped with SIGSTOP in the middle of an upgrade (`not_after`: they stood still).
    SideSuspended(Suspension),
    /// Those of them that lived still were continued (`not_before`: just before that).
    SideContinued {
        /// Which upgrade.
        upgrade: UpgradeId,
    },
    /// From now on the target gets no more of something that the next upgrade may need.
    Withheld(Withheld),
    /// The first acting step of an upgrade that goes without that is about to run.
    TriggeredWithout {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// The action.
        action: String,
        /// What it goes without.
        resource: Resource,
    },
    /// There is enough again (`not_before`: just before that).
    Restored(Restored),
    /// From now on the path between the target and its clients has a fault.
    PathDisturbed(PathDisturbed),
    /// It has none any more.
    PathCleared(PathCleared),
    /// The pidfile some time after a broken executable ran, or after what was withheld was there again.
    Survived {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// Its name then.
        pidfile: FileLook,
        /// The main process of all that serve.
        survivor: Option<Pid>,
    },
    /// The trigger's signal was sent this many times instead of once.
    Storm {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// How many signals were sent.
        signals: u32,
    },
    /// The target's starting directory was removed while it runs.
    DirectoryRemoved {
        /// Which.
        path: String,
    },
    /// Connections that never end were opened and half a request sent on each; the accept queues were empty afterwards.
    Held {
        /// How many.
        connections: u32,
    },
    /// One of them changed, after the upgrade that it was to outlast.
    HeldConnection {
        /// The upgrade.
        upgrade: UpgradeId,
        /// Its number, from 1.
        connection: u32,
        /// How.
        change: HeldChange,
    },
    /// The target's own test of its configuration ran (the event spans it).
    ConfigTested {
        /// How it ended; `None` when it did not, in the time that a start has.
        status: Option<ExitStatus>,
    },
    /// The target was launched with a mark of inheritance and nothing to inherit.
    MarkedStart {
        /// The variable ("is_slave=true").
        mark: String,
        /// What came of it.
        outcome: MarkedOutcome,
    },
    /// A process was left to the main process, pid 1 of its namespace, and ended (`not_before`).
    Orphaned {
        /// Which.
        orphan: Image,
        /// The main process, its parent since then.
        adopter: Image,
        /// Whether it was waited for by `not_after`; else it was a zombie then.
        reaped: bool,
    },
    /// The main process stood still after SIGSTOP, and was continued right after.
    Suspended {
        /// The main process.
        image: Image,
    },
    /// The target at rest: no load, no connection, and nothing changed between the last two looks (or the limit passed).
    Quiescent {
        /// The upgrade that it follows; 0 before the first.
        upgrade: UpgradeId,
        /// Its live processes.
        processes: Vec<AtRest>,
        /// Its processes in state Z, the same ones in the last two looks.
        zombies: Vec<Image>,
    },
    /// A draining generation was watched for some time.
    DrainWatched(DrainWatched),
    /// How much memory it had then.
    Resident(Resident),
    /// Handshakes with the endpoint that were in SYN_RECV right before the trigger.
    HalfOpen {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// How many.
        count: u32,
    },
    /// Bytes that each slow reader had not read of its answer, right after the trigger.
    StreamsUnread {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// One number a reader.
        bytes: Vec<u64>,
    },
    /// A request of ours outside of the load was answered by this version.
    Probed {
        /// The version that the answer carried.
        version: Version,
    },
    /// The declared done event of an upgrade was seen.
    UpgradeDone {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// What was seen.
        by: String,
    },
    /// The harness saw the previous generation gone (no old process serves, or connections of it remain) and the
    /// load of the upgrade finished.
    UpgradeSettled {
        /// Which upgrade.
        upgrade: UpgradeId,
    },
    /// A file was changed for a file-watching target.
    FileChanged {
        /// Which upgrade this should cause.
        upgrade: UpgradeId,
        /// How ("by-rename").
        how: String,
        /// The file.
        path: String,
    },
    /// A declared deadline passed before the thing happened: evidence, not a mystery.
    DeadlinePassed {
        /// Which ("upgrade done").
        name: String,
        /// Its length in milliseconds.
        length_ms: u64,
    },
    /// An action of the manifest could not be carried out because the target was not in the state for it
    /// (no process to signal, command exited non-zero).
    ActionFailed {
        /// The action.
        action: String,
        /// Why.
        reason: String,
    },
    /// Accepting was stalled (manifest's `stall`).
    Stalled {
        /// The processes that were stopped; none where connections are held instead.
        pids: Vec<Pid>,
    },
    /// It goes on.
    Unstalled,
    /// Busy processes of ours began beside the target, one for each processor; they end when the load does.
    Pressed,
    /// The load began sending these patterns.
    LoadBegan {
        /// Their words.
        patterns: Vec<String>,
    },
    /// The schedule stopped; what was in flight is being drained.
    LoadStopped,
    /// The stop was asked for.
    StopAsked {
        /// The action.
        action: String,
    },
    /// A process ended, as its reaper or its pidfd told.
    Exited {
        /// Its pid.
        pid: Pid,
        /// How.
        status: ExitStatus,
    },
    /// The process tree changed.
    Process {
        /// Which image.
        image: Image,
        /// How.
        change: ProcessChange,
    },
    /// Within a second one of its threads was ready to run, and others had the processors, for a tenth or more.
    Starved {
        /// Which image.
        image: Image,
        /// For how long, in milliseconds.
        waited_ms: u64,
    },
    /// What the target's processes had waited for a processor during a wait for it was added to that wait's limit
    /// (`not_before` = its begin).
    WaitLengthened {
        /// By how much, in milliseconds.
        by_ms: u64,
    },
    /// The listening sockets on the endpoints' addresses changed since the last dump (`not_before` = that dump).
    Listeners {
        /// All of them now.
        rows: Vec<Listener>,
    },
    /// The kernel announced a listener's end (inet_diag DESTROY group; up to 0.1 ms late).
    ListenerDestroyed {
        /// Which.
        cookie: Cookie,
        /// Its address.
        address: String,
    },
    /// The kernel announced connections destroyed that no process had accepted, just before their listener's end.
    QueuedDestroyed {
        /// Their local address.
        address: String,
        /// How many.
        count: u32,
    },
    /// The target stands still in listen(2) (seccomp hook) while the listeners are dumped.
    ListenCall {
        /// Caller.
        pid: Pid,
        /// The socket.
        cookie: Cookie,
        /// The address it is bound to.
        address: String,
        /// SO_REUSEPORT of the socket.
        reuseport: bool,
        /// It listened already (a repeated listen).
        already_listening: bool,
        /// The listeners on the endpoints' addresses at that instant.
        rows: Vec<Listener>,
    },
    /// A process of the target, not the launcher, was held in a call of its start, between these two instants.
    StartupHeld {
        /// Caller.
        pid: Pid,
        /// The call.
        call: StartupCall,
        /// Why it was let go.
        released: Released,
    },
    /// Which processes hold a listener of the endpoints open, seen with the process tree (changes only).
    Holders {
        /// The listener's inode.
        inode: u64,
        /// The images that hold it.
        images: Vec<Image>,
    },
    /// The pidfile changed.
    Pidfile {
        /// How.
        change: PidfileChange,
        /// Inode after the change; `None` when the name is absent.
        inode: Option<u64>,
        /// Content read right after the event; `None` when absent or unreadable. A read may see a later state.
        content: Option<String>,
    },
    /// Counters of the target's network namespace, by name (`TcpExt.TCPAbortOnClose`), all from 0.
    Counters {
        /// Why they were read now ("before upgrade 1", "settled upgrade 1").
        moment: String,
        /// The values.
        values: BTreeMap<String, u64>,
    },
    /// The same of the network namespace of its clients, where that is another one.
    ClientCounters {
        /// Why they were read now.
        moment: String,
        /// The values.
        values: BTreeMap<String, u64>,
    },
    /// A line that the target wrote.
    Output {
        /// "stdout", "stderr", or a log file's path.
        stream: String,
        /// The line, lossily decoded.
        line: String,
    },
    /// What was left after the stop; empty is good.
    Scanned {
        /// The leftovers.
        leftovers: Vec<Leftover>,
    },
    /// An observer could not see: makes the checks that need it `error`.
    ObserverFault {
        /// Which ("pidfile").
        observer: String,
        /// What ("inotify queue overflow").
        fault: String,
    },
    /// An observer's account at its end.
    ObserverEnded {
        /// Which.
        observer: String,
        /// Samples taken.
        samples: u64,
        /// The longest time between two samples, in nanoseconds.
        longest_gap: u64,
    },
}
