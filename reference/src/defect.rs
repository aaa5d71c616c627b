//! Every deliberate bug of the references: what it does, where it happened, and the check that must catch it.
//!
//! A conformance suite that has never failed proves nothing. Each defect is a small, named branch point in otherwise correct code,
//! switched on by `--defect NAME`; the name is the last part of the check's id, with a variant after `=` where the size of the
//! bug matters.

mod connections;
mod daemons;
mod restarts;

use std::str::FromStr;
use std::time::Duration;

pub use connections::{KeptConnection, LongBody, YoungConnection};

use crate::listener::{BACKLOG, Sharing};

/// How long nobody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Closed and bound again in consecutive system calls: some tens of microseconds at most.
    None,
    /// 100 µs: far below what polling or load can see.
    Short,
}

impl Gap {
    const fn duration(self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Short => Duration::from_micros(100),
        }
    }
}

/// How a wrong restart comes to refuse clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every copy of the listener is closed, and only 50 ms later a new one is bound and a generation started.
    Unbound,
    /// A generation that is told to stop shuts its copy of the listener down, and with it everybody's.
    ShutDown,
}

/// What a wrong generation goes on waiting for when it has closed its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spin {
    /// The number of the closed listener: poll(2) returns at once, always.
    Number,
    /// Its registration with epoll(7), which lives as long as anybody has the socket open: it reports each connection that
    /// another generation has not accepted yet.
    Registration,
}

/// Which file a wrong master executes for the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// `/proc/self/exe`: the inode that it was started from.
    OwnInode,
    /// The path of its starting directory and its relative zeroth argument put together: it leads through that directory.
    ThroughStart,
}

/// Which listeners a wrong new instance does not take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// All but the first; it binds them when its predecessor has gone.
    Further,
    /// All but one of those that share an address.
    Namesakes,
}

/// A launcher that a wrong daemon does not start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unexpected {
    /// One in a removed directory.
    RemovedDirectory,
    /// A child of pid 1.
    ChildOfInit,
}

/// What a wrong daemon makes of a pidfile that another one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Somebody has that pid: it runs already.
    Believed,
    /// Written over from the beginning; what was longer keeps its end.
    NotTruncated,
}

/// What a wrong daemon keeps when it becomes another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptGroups {
    /// Its launcher's supplementary groups.
    Supplementary,
    /// Its launcher's group.
    Own,
}

/// What a wrong generation does before its initialisation is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// It says that it is ready, and serves.
    Serves,
    /// It says that it is ready, and serves later.
    Announces,
}

/// What a wrong master does not know of being pid 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaware {
    /// That it is given orphans.
    Orphans,
    /// That the default of a signal is to be ignored.
    Stop,
}

/// When a wrong master lowers a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lowered {
    /// Before it starts a later generation.
    Later,
    /// At its own start.
    AtStart,
}

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The process between launcher and daemon stays, as the daemon's parent.
    Orphaned,
    /// The daemon stays in its launcher's session.
    NewSession,
    /// The daemon leads its session and opens a terminal without O_NOCTTY.
    NoTty,
    /// The daemon leads its session: it forked once.
    CannotAcquireTty,
    /// The daemon stays in its launcher's session and dies of SIGHUP.
    SurvivesHangup,
    /// The launcher does not expect to be launched so.
    FromAnyLauncher(Unexpected),
    /// The daemon stays in its launcher's directory.
    Cwd,
    /// The daemon keeps its launcher's standard input.
    StdioDetached,
    /// Standard output and error of the daemon are open for reading only.
    StdioUsable,
    /// The daemon keeps a copy of its launcher's standard output.
    LauncherEof,
    /// The daemon closes no descriptor that its launcher had open.
    NoneInherited,
    /// The daemon closes its standard streams and opens nothing in their place.
    ClosedStdioStart,
    /// The daemon's pidfile is open in every program that it executes.
    CloseOnExec,
    /// The daemon's helper holds the lock of its pidfile too.
    RestartBesideHelper,
    /// The daemon keeps its launcher's signal mask.
    SignalMask,
    /// The daemon keeps what its launcher ignores.
    SignalDispositions,
    /// The launcher fails when it cannot wait for its child.
    ExitCodeUnderSigchldIgnore,
    /// The daemon keeps its launcher's umask.
    Umask,
    /// What the supervisor kept is not taken back.
    FdStore,
    /// The log is made with mode 0666 under the launcher's umask.
    UmaskLog,
    /// The daemon's helper ignores SIGPIPE, as the daemon does.
    Sigpipe,
    /// The daemon's helper gets what was meant for the launcher.
    Environment,
    /// The daemon's helper gets a variable that means something to the daemon alone.
    EnvironmentMarker,
    /// The daemon becomes another user, and stays in a group.
    Privileges(KeptGroups),
    /// Every fourth connection goes to a thread that fork(2) did not copy.
    Threads,
    /// The pidfile is written only after the launcher has returned.
    PresentAtReturn,
    /// The pidfile names the launcher.
    OwnPid,
    /// The pidfile has a word before the number.
    Format,
    /// The stop command believes whatever number a pidfile begins with.
    NeverHitsStranger,
    /// The pidfile stays after the stop.
    RemovedOnStop,
    /// The pidfile is removed by its name, whosever it is by now.
    SuccessorKept,
    /// The status command tidies up what it takes for left over.
    StatusReadOnly,
    /// A relative path is resolved after the daemon has changed its directory.
    RelativePath,
    /// The pidfile is looked at first and written later, and the address shared.
    SingleWinner,
    /// The pidfile is written before anything else, whoever it names.
    SecondStartRefused,
    /// What another daemon left in the pidfile's place stays an obstacle, or stays there.
    StaleReplaced(Stale),
    /// The pidfile's mode is what the launcher's umask leaves of 0666.
    Mode,
    /// The pidfile is written wherever a symbolic link leads.
    NoSymlink,
    /// The daemon listens only after its launcher has returned.
    AtReturn,
    /// The launcher returns 0 as soon as it has forked.
    FailureReported,
    /// The launcher waits for its daemon for ever.
    Bounded,
    /// READY=1 is sent before anybody listens.
    NotifyOnce,
    /// READY=1 is sent by a child.
    NotifyOnceChild,
    /// A generation is early: before its initialisation is complete.
    NotEarly(Early),
    /// RELOADING=1 is sent without its time.
    NotifyReload,
    /// STOPPING=1 is never sent.
    NotifyReloadStopping,
    /// The descriptor of the notification is never closed.
    NotifyFd,
    /// LISTEN_PID of another process is an error.
    StaleListenPid,
    /// The new generation is announced as the main process.
    SystemdReload,
    /// The limit on open files is lowered.
    Limits(Lowered),
    /// An activated listener is shut down at the stop.
    SocketActivation,
    /// WATCHDOG=1 is not sent any more after an upgrade.
    Watchdog,
    /// The launched process only waits, and an orphan in a session of its own serves.
    ForegroundStays,
    /// SIGHUP kills, whatever it was started by.
    Nohup,
    /// The process that was started ends at once, and a child of it serves.
    Supervisord,
    /// The pidfile is written a moment after the launcher has returned.
    SystemdForking,
    /// Its supervisor hears of its readiness from a child only.
    SystemdNotify,
    /// A generation whose master is gone serves on.
    ComesBack,
    /// A stop that was asked for ends with status 1.
    TermClean,
    /// A stop that comes before the service is there is forgotten.
    TermCleanEarly,
    /// SIGHUP is left at its default: it kills.
    HupSurvives,
    /// The listener is bound without SO_REUSEADDR.
    RebindAtOnce,
    /// The log is not opened for appending.
    LogAppend,
    /// The order to open the log anew is ignored.
    LogAppendKept,
    /// The master is pid 1 and does not know what that means.
    PidOne(Unaware),
    /// The log is made with mode 0666 under a umask of 0.
    LogMode,
    /// A child that has ended is never waited for.
    NoZombies,
    /// On a trigger the master logs success and starts nothing; the old generation goes on.
    TookOver,
    /// Clients are refused.
    NoRefused(Refusal),
    /// Every copy of the listener is closed before the next one is bound, without SO_REUSEPORT.
    ListenerContinuity(Gap),
    /// The same with SO_REUSEPORT on both sockets, where an overlap would have been possible.
    ListenerContinuityReuseport(Gap),
    /// Each generation has a listener of its own (SO_REUSEPORT); they overlap, but what the old one has queued is reset.
    BacklogKept,
    /// The listener is closed and bound anew: what it had of handshakes is lost with it.
    HalfOpenKept,
    /// Each upgrade leaves the accept queue shorter than the start made it.
    BacklogSizeKept,
    /// A new generation shrinks the accept queue to one entry, and takes nothing from it for a tenth of a second.
    NoStall,
    /// A new generation says that it is ready, and accepts its first connection only 1.2 seconds later.
    AnswerGap,
    /// Each inotify event on the watched file starts an upgrade of its own, finished writing or not.
    WatchTriggered,
    /// The old generation exits at once when it is replaced.
    InflightCompletes,
    /// A draining generation ends long answers in the middle, with an orderly close.
    StreamIntact,
    /// A draining generation gives up request bodies that have not arrived whole.
    UploadCompletes,
    /// A draining generation resets connections whose answer is not all taken by the client.
    ResponseNotReset,
    /// A draining generation closes a connection that has sent half a request head.
    PartialRequest,
    /// A draining generation reads the first request of a connection and closes without an answer.
    FirstRequest,
    /// A draining generation closes connections that have not sent anything yet, as if they were idle.
    FreshNotClosed,
    /// A draining generation closes each kept connection just when its next request has arrived, without reading it.
    KeepaliveRace,
    /// A draining generation reads the next request of each kept connection and closes without an answer.
    KeepaliveSwallowed,
    /// What is executed is the file that was started, not the one that is installed.
    BinaryReplaced(Executed),
    /// A draining generation takes new connections as long as it has any.
    OldStopsAccepting,
    /// Generations take three times the drain timeout.
    DeadlineKept,
    /// A test of the configuration listens on the address, and takes what comes.
    ConfigTestHarmless,
    /// A new instance does not take over every listener.
    EveryListener(Forgotten),
    /// A new instance keeps the listeners that are not wanted any more.
    ListenerSetChanges,
    /// A new instance unlinks the file of a UNIX socket, and makes it anew.
    UnixPathKept,
    /// The old generation is told to go before the new one has read its configuration.
    BadConfig,
    /// A generation that dies once it has been ready is not replaced.
    DiesAfterReady,
    /// What is said of an upgrade that failed is what is said of one that succeeded.
    Reported,
    /// A generation empties the log of requests when it opens it.
    LogContinuous,
    /// At each upgrade one more socket listens in the group, and nobody accepts from it.
    NoGroupZombie,
    /// Generations take half of the drain timeout.
    DeadlineNotEarly,
    /// A draining generation closes a connection whose first request becomes whole only then.
    LateWork,
    /// A generation without a connection stays for three times the drain timeout.
    OldExitsIdle,
    /// A draining generation closes kept connections after an answer that does not say so.
    CloseAnnounced,
    /// A draining generation goes on waiting for the listener that it has closed.
    NoSpin(Spin),
    /// Whatever lies at the agreed descriptors is taken for what a master handed on.
    FalseMark,
    /// The old generation is told to drain when the new one is started, before it is ready.
    Exits,
    /// A generation that a signal has killed before it was ready is taken for one that exits with 0, and replaces the old one.
    Crashes,
    /// A generation that does not become ready is waited for, for ever.
    Hangs,
    /// An upgrade that failed counts as one in progress, for ever: the next ones are ignored.
    NotSticky,
    /// The master does not wait for generations that ended before they were ready.
    Reaped,
    /// A generation that cannot be started is the end of the master.
    OutOfResources,
    /// Each trigger starts a generation at once; one that is ready replaces those that served when it was started.
    Storm,
    /// While a generation drains the next one gets a listener of its own, bound 50 ms after the one that there was is closed.
    DuringDrain,
    /// The handler of the trigger is installed a second after the first generation is ready.
    AtStart,
    /// From the fourth upgrade on the listener is closed, and bound anew 50 ms later.
    Sequential,
    /// When a new generation is killed, everybody else is, the listener closed, and everything begun anew.
    KilledNew,
    /// The same when an old one is.
    KilledOld,
    /// A generation that has not said within 300 ms that it is ready is taken for one that is.
    SuspendedNew,
    /// Generations take turns at the listener: a new one accepts when the one before has given it up.
    SuspendedOld,
    /// The master keeps the readiness pipe of every generation.
    Descriptors,
    /// The master does not wait for generations that have drained.
    Processes,
    /// Each generation gets the variables of the one before, and one more.
    EnvironmentGrows,
    /// A helper of each generation, in a session of its own, has the listener open as long as that generation lives.
    ListenerElsewhere,
    /// At each upgrade the pidfile is unlinked and created anew.
    UpgradeAlwaysValid,
    /// The pidfile names the next generation before that is ready.
    AfterFailedUpgrade,
    /// At each upgrade the pidfile is written anew beside and renamed over, and nobody looks whether it could be written.
    AfterFailedUpgradeFullDisk,
    /// A helper process in a session of its own stays alive after the stop.
    NothingLeft,
    /// A UNIX socket that the master bound keeps its file after the stop.
    NothingLeftSocketFile,
    /// A draining generation drops the HTTP/2 streams that it has taken.
    H2Streams,
    /// A draining generation ends HTTP/2 connections without GOAWAY.
    Goaway,
    /// A new generation has no certificate for a while.
    Handshakes,
    /// Each generation seals session tickets by a key of its own.
    Resumption,
    /// A draining generation ends a WebSocket without a close frame.
    WebSocket,
    /// A draining generation's close frames have no code.
    CloseCode,
    /// A draining generation reads datagrams, and answers none.
    NoneLost,
    /// Two generations read datagrams from one socket.
    FlowSticks,
}

/// One line of the table of defects.
#[derive(Clone, Copy, Debug)]
pub struct DefectRow {
    /// What `--defect` takes.
    pub name: &'static str,
    /// The bug that it switches on.
    pub defect: Defect,
    /// Id of the check that must catch it.
    pub catches: &'static str,
    /// Where this happened in the real world.
    pub report: &'static str,
    /// What goes wrong, in one sentence.
    pub bug: &'static str,
}

/// Every defect, in the order of the catalogue.
pub fn all() -> impl Iterator<Item = &'static DefectRow> {
    daemons::ROWS.iter().chain(restarts::ROWS)
}

impl Defect {
    /// Its line of the table.
    ///
    /// # Panics
    /// Never: a test looks up every variant that can be parsed.
    #[must_use]
    pub fn row(self) -> &'static DefectRow {
        all().find(|row| row.defect == self).expect("every defect has a row")
    }

    /// A bug of becoming a daemon: of the technique `orphan`; the others are of `exec-inherit`.
    #[must_use]
    pub fn is_of_daemons(self) -> bool {
        matches!(
            self,
            Self::Orphaned
                | Self::NewSession
                | Self::NoTty
                | Self::CannotAcquireTty
                | Self::SurvivesHangup
                | Self::FromAnyLauncher(_)
                | Self::Cwd
                | Self::RestartBesideHelper
                | Self::SignalMask
                | Self::SignalDispositions
                | Self::ExitCodeUnderSigchldIgnore
                | Self::Umask
                | Self::UmaskLog
                | Self::Sigpipe
                | Self::Environment
                | Self::EnvironmentMarker
                | Self::Privileges(_)
                | Self::Threads
                | Self::StdioDetached
                | Self::StdioUsable
                | Self::LauncherEof
                | Self::NoneInherited
                | Self::ClosedStdioStart
                | Self::CloseOnExec
                | Self::PresentAtReturn
                | Self::OwnPid
                | Self::Format
                | Self::NeverHitsStranger
                | Self::RemovedOnStop
                | Self::SuccessorKept
                | Self::StatusReadOnly
                | Self::RelativePath
                | Self::SingleWinner
                | Self::SecondStartRefused
                | Self::StaleReplaced(_)
                | Self::Mode
                | Self::NoSymlink
                | Self::AtReturn
                | Self::FailureReported
                | Self::Bounded
                | Self::TermClean
                | Self::TermCleanEarly
                | Self::HupSurvives
                | Self::RebindAtOnce
                | Self::LogAppend
                | Self::LogAppendKept
                | Self::LogMode
                | Self::NoZombies
                | Self::SystemdForking
        )
    }

    /// Id of the check that must catch it.
    #[must_use]
    pub fn catches(self) -> &'static str {
        self.row().catches
    }
}

impl FromStr for Defect {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || all().map(|row| row.name).collect::<Vec<_>>().join(", ");
        let row = all().find(|row| row.name == name);
        row.map(|row| row.defect).ok_or_else(|| format!("no such defect; there are {}", known()))
    }
}

/// Where the next generation's listener comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// It is the one there has always been.
    Shared,
    /// Everyone closes the old one, then a new one is bound.
    Rebind {
        /// Time in between.
        gap: Duration,
        /// Options of both.
        sharing: Sharing,
    },
    /// A new one is bound beside the old one, which is closed once the new generation is ready.
    Overlap,
}

/// How many upgrades succeed before [`Defect::Sequential`] strikes: the first ones are what everybody tests.
const SOUND_UPGRADES: u32 = 3;

impl Succession {
    /// The correct way, or the defect's, after so many upgrades.
    #[must_use]
    pub fn after(upgrades: u32, defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::Sequential) if upgrades >= SOUND_UPGRADES => {
                Self::of(Some(Defect::NoRefused(Refusal::Unbound)))
            }
            // With many upgrades behind, as each generation sees it.
            Some(Defect::DuringDrain) if upgrades == u32::MAX => Self::of(Some(Defect::NoRefused(Refusal::Unbound))),
            _ => Self::of(defect),
        }
    }

    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            // The simulated slow start of the new generation.
            Some(Defect::NoRefused(Refusal::Unbound)) => {
                Self::Rebind { gap: Duration::from_millis(50), sharing: Sharing::Exclusive }
            }
            Some(Defect::ListenerContinuity(gap)) => Self::Rebind { gap: gap.duration(), sharing: Sharing::Exclusive },
            Some(Defect::ListenerContinuityReuseport(gap)) => {
                Self::Rebind { gap: gap.duration(), sharing: Sharing::ReusePort }
            }
            Some(Defect::HalfOpenKept) => Self::Rebind { gap: Duration::ZERO, sharing: Sharing::Exclusive },
            Some(Defect::BacklogKept) => Self::Overlap,
            _ => Self::Shared,
        }
    }

    /// Options of every listener that is bound.
    #[must_use]
    pub fn sharing(self) -> Sharing {
        match self {
            Self::Shared => Sharing::Exclusive,
            Self::Rebind { sharing, .. } => sharing,
            Self::Overlap => Sharing::ReusePort,
        }
    }
}

/// What a new generation does between saying that it is ready and accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Accepts at once: correct.
    Prompt,
    /// Accepts nothing for this long, while connections wait in a queue of this length.
    Late {
        /// How long.
        pause: Duration,
        /// listen(2)'s backlog meanwhile.
        backlog: i32,
    },
}

impl Entrance {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            // At 300 connects a second some thirty come in that time, and two fit in.
            Some(Defect::NoStall) => Self::Late { pause: Duration::from_millis(100), backlog: 1 },
            // Above what the reference declares by more than a busy machine lets a process wait; at some 450 connects a second the
            // queue has room for all.
            Some(Defect::AnswerGap) => Self::Late { pause: Duration::from_millis(1200), backlog: BACKLOG },
            _ => Self::Prompt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn defect_names_parse_and_are_unique() {
        let names: BTreeSet<&str> = all().map(|row| row.name).collect();
        assert_eq!(names.len(), all().count());
        for row in all() {
            assert_eq!(row.name.parse(), Ok(row.defect));
            assert_eq!(row.defect.row().name, row.name);
            let check = row.defect.catches().split_once('/').expect("area/name").1;
            let stem = row.name.split('=').next().expect("a first part");
            assert!(stem.starts_with(check), "{} must begin with the name of {check}", row.name);
        }
        assert!("none".parse::<Defect>().expect_err("unknown").contains("took-over"));
    }

    #[test]
    fn without_a_defect_everything_is_correct() {
        assert_eq!(Succession::of(None), Succession::Shared);
        assert_eq!(Succession::of(None).sharing(), Sharing::Exclusive);
        assert_eq!(KeptConnection::of(None), KeptConnection::Answer);
        assert_eq!(LongBody::of(None), LongBody::Finish);
        assert_eq!(Entrance::of(None), Entrance::Prompt);
        assert_eq!(YoungConnection::of(None), YoungConnection::Await);
    }
}
