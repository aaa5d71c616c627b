//! Every deliberate bug of the references: what it does, where it happened, and the check that must catch it.
//!
//! A conformance suite that has never failed proves nothing. Each defect is a small, named branch point in otherwise correct code,
//! switched on by `--defect NAME`; the name is the last part of the check's id, with a variant after `=` where the size of the
//! bug matters.

use std::str::FromStr;
use std::time::Duration;

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

/// Which file a wrong master executes for the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// `/proc/self/exe`: the inode that it was started from.
    OwnInode,
    /// The path of its starting directory and its relative zeroth argument put together: it leads through that directory.
    ThroughStart,
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
    /// The daemon stays in its launcher's session and dies of SIGHUP.
    SurvivesHangup,
    /// The daemon keeps its launcher's standard input.
    StdioDetached,
    /// The daemon keeps a copy of its launcher's standard output.
    LauncherEof,
    /// The daemon closes no descriptor that its launcher had open.
    NoneInherited,
    /// The pidfile is written only after the launcher has returned.
    PresentAtReturn,
    /// The pidfile names the launcher.
    OwnPid,
    /// The pidfile has a word before the number.
    Format,
    /// The pidfile stays after the stop.
    RemovedOnStop,
    /// The daemon listens only after its launcher has returned.
    AtReturn,
    /// The launcher returns 0 as soon as it has forked.
    FailureReported,
    /// A stop that was asked for ends with status 1.
    TermClean,
    /// On a trigger the master logs success and starts nothing; the old generation goes on.
    TookOver,
    /// Every copy of the listener is closed, and only 50 ms later a new one is bound and a generation started.
    NoRefused,
    /// Every copy of the listener is closed before the next one is bound, without SO_REUSEPORT.
    ListenerContinuity(Gap),
    /// The same with SO_REUSEPORT on both sockets, where an overlap would have been possible.
    ListenerContinuityReuseport(Gap),
    /// Each generation has a listener of its own (SO_REUSEPORT); they overlap, but what the old one has queued is reset.
    BacklogKept,
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
    /// Generations take three times the drain timeout.
    DeadlineKept,
    /// A generation without a connection stays for three times the drain timeout.
    OldExitsIdle,
    /// Whatever lies at the agreed descriptors is taken for what a master handed on.
    FalseMark,
    /// The old generation is told to drain when the new one is started, before it is ready.
    Exits,
    /// An upgrade that failed counts as one in progress, for ever: the next ones are ignored.
    NotSticky,
    /// Each trigger starts a generation at once; one that is ready replaces those that served when it was started.
    Storm,
    /// From the fourth upgrade on the listener is closed, and bound anew 50 ms later.
    Sequential,
    /// The master keeps the readiness pipe of every generation.
    Descriptors,
    /// The master does not wait for generations that have drained.
    Processes,
    /// At each upgrade the pidfile is unlinked and created anew.
    UpgradeAlwaysValid,
    /// A helper process in a session of its own stays alive after the stop.
    NothingLeft,
    /// A UNIX socket that the master bound keeps its file after the stop.
    NothingLeftSocketFile,
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
pub static ALL: &[DefectRow] = &[
    DefectRow {
        name: "orphaned",
        defect: Defect::Orphaned,
        catches: "detach/orphaned",
        report: "domoticz#1211, browser-harness#692",
        bug: "the process between launcher and daemon waits for the daemon instead of ending",
    },
    DefectRow {
        name: "new-session",
        defect: Defect::NewSession,
        catches: "detach/new-session",
        report: "sshfs#141, scaffold#34; the article's program",
        bug: "never calls setsid: it stays in its launcher's session and keeps the terminal",
    },
    DefectRow {
        name: "no-tty",
        defect: Defect::NoTty,
        catches: "detach/no-tty",
        report: "origin-server#5520",
        bug: "leads its session and opens a terminal without O_NOCTTY, which becomes its controlling terminal",
    },
    DefectRow {
        name: "survives-hangup",
        defect: Defect::SurvivesHangup,
        catches: "detach/survives-hangup",
        report: "sshfs#141",
        bug: "never calls setsid and leaves SIGHUP at its default: closing the terminal kills it",
    },
    DefectRow {
        name: "stdio-detached",
        defect: Defect::StdioDetached,
        catches: "fd/stdio-detached",
        report: "sslh#468; the article's program",
        bug: "keeps its launcher's standard input, a terminal",
    },
    DefectRow {
        name: "launcher-eof",
        defect: Defect::LauncherEof,
        catches: "fd/launcher-eof",
        report: "OpenRC#239, sshuttle#139, dhcpcd#716",
        bug: "keeps a copy of its launcher's standard output: whoever reads it waits for ever",
    },
    DefectRow {
        name: "none-inherited",
        defect: Defect::NoneInherited,
        catches: "fd/none-inherited",
        report: "zmx#119; nginx and haproxy keep them",
        bug: "closes no descriptor above 2: what its launcher had open stays open",
    },
    DefectRow {
        name: "present-at-return",
        defect: Defect::PresentAtReturn,
        catches: "pidfile/present-at-return",
        report: "nghttp2#375, go-daemon",
        bug: "writes the pidfile 200 ms after the launcher has returned",
    },
    DefectRow {
        name: "own-pid",
        defect: Defect::OwnPid,
        catches: "pidfile/own-pid",
        report: "gracehttp#6, teleport#1852",
        bug: "writes the pid that it had before it forked: the launcher's",
    },
    DefectRow {
        name: "format",
        defect: Defect::Format,
        catches: "pidfile/format",
        report: "FHS 3.0, /run: \"must consist of the process identifier in ASCII-encoded decimal\"",
        bug: "writes a word before the number",
    },
    DefectRow {
        name: "removed-on-stop",
        defect: Defect::RemovedOnStop,
        catches: "pidfile/removed-on-stop",
        report: "haproxy leaves it",
        bug: "leaves the pidfile behind",
    },
    DefectRow {
        name: "at-return",
        defect: Defect::AtReturn,
        catches: "ready/at-return",
        report: "AwaLWM2M#178",
        bug: "listens 200 ms after the launcher has returned",
    },
    DefectRow {
        name: "failure-reported",
        defect: Defect::FailureReported,
        catches: "ready/failure-reported",
        report: "carbon-c-relay#265, pdns#1709",
        bug: "the launcher returns 0 as soon as it has forked, and says nothing when the daemon fails",
    },
    DefectRow {
        name: "term-clean",
        defect: Defect::TermClean,
        catches: "life/term-clean",
        report: "daemon(7)",
        bug: "ends with status 1 when it is told to stop",
    },
    DefectRow {
        name: "took-over",
        defect: Defect::TookOver,
        catches: "handoff/took-over",
        report: "null targets: a restart that is claimed and not made",
        bug: "logs that the upgrade succeeded but starts nothing",
    },
    DefectRow {
        name: "no-refused",
        defect: Defect::NoRefused,
        catches: "handoff/no-refused",
        report: "iodine#97, overseer#34",
        bug: "closes the listener, starts slowly (50 ms), then binds a new one: connects are refused",
    },
    DefectRow {
        name: "listener-continuity=0us",
        defect: Defect::ListenerContinuity(Gap::None),
        catches: "handoff/listener-continuity",
        report: "sozu#297",
        bug: "closes the listener and binds a new one at once, without SO_REUSEPORT",
    },
    DefectRow {
        name: "listener-continuity=100us",
        defect: Defect::ListenerContinuity(Gap::Short),
        catches: "handoff/listener-continuity",
        report: "sozu#297",
        bug: "closes the listener and binds a new one 100 microseconds later, without SO_REUSEPORT",
    },
    DefectRow {
        name: "listener-continuity-reuseport=0us",
        defect: Defect::ListenerContinuityReuseport(Gap::None),
        catches: "handoff/listener-continuity",
        report: "sozu#297",
        bug: "closes the listener and binds a new one at once, both with SO_REUSEPORT",
    },
    DefectRow {
        name: "listener-continuity-reuseport=100us",
        defect: Defect::ListenerContinuityReuseport(Gap::Short),
        catches: "handoff/listener-continuity",
        report: "sozu#297",
        bug: "closes the listener and binds a new one 100 microseconds later, both with SO_REUSEPORT",
    },
    DefectRow {
        name: "backlog-kept",
        defect: Defect::BacklogKept,
        catches: "handoff/backlog-kept",
        report: "sozu#1362, pingora#427",
        bug: "each generation has its own SO_REUSEPORT listener: connections queued at the old one are reset",
    },
    DefectRow {
        name: "binary-replaced",
        defect: Defect::BinaryReplaced(Executed::OwnInode),
        catches: "handoff/binary-replaced",
        report: "Kong#5565",
        bug: "executes /proc/self/exe, the old inode, for each generation",
    },
    DefectRow {
        name: "binary-replaced=relative",
        defect: Defect::BinaryReplaced(Executed::ThroughStart),
        catches: "handoff/binary-replaced",
        report: "Kong#5565",
        bug: "executes the path of its starting directory and argv[0] put together, when that directory is gone",
    },
    DefectRow {
        name: "no-stall",
        defect: Defect::NoStall,
        catches: "handoff/no-stall",
        report: "systemfd's listen backlog of 1",
        bug: "a new generation shrinks the accept queue to 1 and takes nothing from it for 100 ms: clients send their SYN again",
    },
    DefectRow {
        name: "answer-gap",
        defect: Defect::AnswerGap,
        catches: "handoff/answer-gap",
        report: "apache, lighttpd, puma, uwsgi: 1.0 to 3.5 s",
        bug: "a new generation says that it is ready and accepts nothing for 1.2 s",
    },
    DefectRow {
        name: "watch-triggered",
        defect: Defect::WatchTriggered,
        catches: "handoff/watch-triggered",
        report: "watchers that believe every event",
        bug: "starts an upgrade for every inotify event, on half-written files too",
    },
    DefectRow {
        name: "inflight-completes",
        defect: Defect::InflightCompletes,
        catches: "drain/inflight-completes",
        report: "puma#2337",
        bug: "the old generation exits at once instead of draining",
    },
    DefectRow {
        name: "stream-intact",
        defect: Defect::StreamIntact,
        catches: "drain/stream-intact",
        report: "puma#2337",
        bug: "a draining generation ends long answers in the middle",
    },
    DefectRow {
        name: "upload-completes",
        defect: Defect::UploadCompletes,
        catches: "drain/upload-completes",
        report: "uwsgi#1371",
        bug: "a draining generation closes connections whose request body has not arrived whole",
    },
    DefectRow {
        name: "response-not-reset",
        defect: Defect::ResponseNotReset,
        catches: "drain/response-not-reset",
        report: "uwsgi#1371",
        bug: "a draining generation resets connections that are still taking their answer",
    },
    DefectRow {
        name: "partial-request",
        defect: Defect::PartialRequest,
        catches: "drain/partial-request",
        report: "uvicorn, haproxy -st",
        bug: "a draining generation closes connections that have sent half a request head",
    },
    DefectRow {
        name: "first-request",
        defect: Defect::FirstRequest,
        catches: "drain/first-request",
        report: "puma, uvicorn: a fresh connection is closed like an idle one",
        bug: "a draining generation reads the first request of a connection and closes without an answer",
    },
    DefectRow {
        name: "fresh-not-closed",
        defect: Defect::FreshNotClosed,
        catches: "drain/fresh-not-closed",
        report: "puma, uvicorn, granian",
        bug: "a draining generation closes connections that have not sent anything yet",
    },
    DefectRow {
        name: "keepalive-race",
        defect: Defect::KeepaliveRace,
        catches: "drain/keepalive-race",
        report: "nginx#437, haproxy#3472",
        bug: "closes kept connections just as their next request has arrived, unread: the client is reset",
    },
    DefectRow {
        name: "keepalive-swallowed",
        defect: Defect::KeepaliveSwallowed,
        catches: "drain/keepalive-swallowed",
        report: "gunicorn 20 HUP, apache graceful",
        bug: "reads the next request of kept connections and closes without an answer",
    },
    DefectRow {
        name: "deadline-kept",
        defect: Defect::DeadlineKept,
        catches: "drain/deadline-kept",
        report: "haproxy#228",
        bug: "waits three times the drain timeout for connections that never end",
    },
    DefectRow {
        name: "old-exits-idle",
        defect: Defect::OldExitsIdle,
        catches: "drain/old-exits-idle",
        report: "haproxy#155",
        bug: "an old generation without a connection stays for three times the drain timeout",
    },
    DefectRow {
        name: "exits",
        defect: Defect::Exits,
        catches: "rollback/exits",
        report: "gunicorn#2443",
        bug: "tells the old generation to go when the new one is started, not when it is ready",
    },
    DefectRow {
        name: "not-sticky",
        defect: Defect::NotSticky,
        catches: "rollback/not-sticky",
        report: "haproxy#1883",
        bug: "takes an upgrade that failed for one in progress and ignores every later trigger",
    },
    DefectRow {
        name: "storm",
        defect: Defect::Storm,
        catches: "trigger/storm",
        report: "hitch#285",
        bug: "starts a generation for each trigger at once; those that were started together never replace each other",
    },
    DefectRow {
        name: "sequential",
        defect: Defect::Sequential,
        catches: "trigger/sequential",
        report: "azhen#84",
        bug: "from the fourth upgrade on closes the listener and binds a new one 50 ms later",
    },
    DefectRow {
        name: "descriptors",
        defect: Defect::Descriptors,
        catches: "leak/descriptors",
        report: "gunicorn#245, pg_doorman#264",
        bug: "keeps a descriptor of every generation open",
    },
    DefectRow {
        name: "processes",
        defect: Defect::Processes,
        catches: "leak/processes",
        report: "moby#29238, naemon#116",
        bug: "does not wait for generations that have drained: zombies",
    },
    DefectRow {
        name: "false-mark",
        defect: Defect::FalseMark,
        catches: "inherit/false-mark",
        report: "the seed's own design",
        bug: "believes the mark and takes whatever lies at descriptor 3 for its listener",
    },
    DefectRow {
        name: "upgrade-always-valid",
        defect: Defect::UpgradeAlwaysValid,
        catches: "pidfile/upgrade-always-valid",
        report: "gunicorn, haproxy, nginx USR2, puma",
        bug: "unlinks the pidfile and creates it anew at each upgrade",
    },
    DefectRow {
        name: "nothing-left",
        defect: Defect::NothingLeft,
        catches: "life/nothing-left",
        report: "nginx trac 753",
        bug: "a helper process in a session of its own survives the stop",
    },
    DefectRow {
        name: "nothing-left=socket-file",
        defect: Defect::NothingLeftSocketFile,
        catches: "life/nothing-left",
        report: "unix(7): the file of a bound socket stays until somebody unlinks it; puma#1988",
        bug: "never unlinks the file of a UNIX socket that it bound",
    },
];

impl Defect {
    /// Its line of the table.
    ///
    /// # Panics
    /// Never: a test looks up every variant that can be parsed.
    #[must_use]
    pub fn row(self) -> &'static DefectRow {
        ALL.iter().find(|row| row.defect == self).expect("every defect has a row")
    }

    /// A bug of becoming a daemon: of the technique `orphan`; the others are of `exec-inherit`.
    #[must_use]
    pub fn is_of_daemons(self) -> bool {
        matches!(
            self,
            Self::Orphaned
                | Self::NewSession
                | Self::NoTty
                | Self::SurvivesHangup
                | Self::StdioDetached
                | Self::LauncherEof
                | Self::NoneInherited
                | Self::PresentAtReturn
                | Self::OwnPid
                | Self::Format
                | Self::RemovedOnStop
                | Self::AtReturn
                | Self::FailureReported
                | Self::TermClean
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
        let known = || ALL.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        let row = ALL.iter().find(|row| row.name == name);
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
            Some(Defect::Sequential) if upgrades >= SOUND_UPGRADES => Self::of(Some(Defect::NoRefused)),
            _ => Self::of(defect),
        }
    }

    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            // The simulated slow start of the new generation.
            Some(Defect::NoRefused) => Self::Rebind { gap: Duration::from_millis(50), sharing: Sharing::Exclusive },
            Some(Defect::ListenerContinuity(gap)) => Self::Rebind { gap: gap.duration(), sharing: Sharing::Exclusive },
            Some(Defect::ListenerContinuityReuseport(gap)) => {
                Self::Rebind { gap: gap.duration(), sharing: Sharing::ReusePort }
            }
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
            // Well above the second that is declared where nothing else is.
            Some(Defect::AnswerGap) => Self::Late { pause: Duration::from_millis(1200), backlog: BACKLOG },
            _ => Self::Prompt,
        }
    }
}

/// What a draining generation does with the next request of a kept connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptConnection {
    /// Answers it and announces the end: correct.
    Answer,
    /// Waits until it has arrived and closes without reading: the client gets a reset, the kernel counts TCPAbortOnClose.
    CloseUnread,
    /// Reads it and closes: the client gets an orderly end instead of an answer.
    Swallow,
}

impl KeptConnection {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::KeepaliveRace) => Self::CloseUnread,
            Some(Defect::KeepaliveSwallowed) => Self::Swallow,
            _ => Self::Answer,
        }
    }
}

/// What a draining generation does with a body that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongBody {
    /// Sends or reads it to its end: correct.
    Finish,
    /// Ends an answer in the middle, with FIN.
    CutAnswer,
    /// Ends an answer in the middle, with RST.
    ResetAnswer,
    /// Reads no more of a request.
    CutRequest,
}

impl LongBody {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::StreamIntact) => Self::CutAnswer,
            Some(Defect::ResponseNotReset) => Self::ResetAnswer,
            Some(Defect::UploadCompletes) => Self::CutRequest,
            _ => Self::Finish,
        }
    }
}

/// What a draining generation does with a connection whose first request has not arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YoungConnection {
    /// Waits for the request and answers it: correct.
    Await,
    /// Closes it if it has sent half a head.
    CutHalf,
    /// Reads the first request and closes.
    Swallow,
    /// Closes it if it has sent nothing.
    CloseUnused,
}

impl YoungConnection {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::PartialRequest) => Self::CutHalf,
            Some(Defect::FirstRequest) => Self::Swallow,
            Some(Defect::FreshNotClosed) => Self::CloseUnused,
            _ => Self::Await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn defect_names_parse_and_are_unique() {
        let names: BTreeSet<&str> = ALL.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ALL.len());
        for row in ALL {
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
