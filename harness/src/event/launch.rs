//! What a launcher left behind when it returned, and what a daemon still has in common with it.

use serde::{Deserialize, Serialize};

use super::{ExitStatus, Obstacle};
use crate::id::{Image, Pid};
use crate::scenario::Launcher;
use crate::target::SignalSet;

/// Why something was launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// To serve.
    #[default]
    Start,
    /// To fail: the harness itself listens on the address.
    AddressBusy,
    /// To fail: a directory stands where its pidfile belongs.
    PidfileBlocked,
    /// To hang: a call at the end of its start is held until the launcher has returned.
    Hung,
    /// To be refused: the daemon runs already.
    AlreadyRunning,
    /// For one to serve and the others to be refused: several at once.
    Racing,
    /// To serve or to be refused: something lies in the pidfile's place.
    Obstructed(Obstacle),
}

impl Occasion {
    /// What a deadline is called that its launcher's return did not keep.
    #[must_use]
    pub fn deadline(self) -> &'static str {
        match self {
            Occasion::Start => "the launcher's return",
            Occasion::AddressBusy => "the launcher's return while the address is taken",
            Occasion::PidfileBlocked => "the launcher's return while its pidfile cannot be written",
            Occasion::Hung => "the end of a start that hangs",
            Occasion::AlreadyRunning => "the launcher's return while the daemon runs",
            Occasion::Racing => "the return of several launchers at once",
            Occasion::Obstructed(_) => "the launcher's return while something lies in its pidfile's place",
        }
    }

    /// What the names of its output streams begin with.
    #[must_use]
    pub fn prefix(self) -> String {
        match self {
            Occasion::Start => String::new(),
            Occasion::AddressBusy => "busy-start.".to_owned(),
            Occasion::PidfileBlocked => "blocked-start.".to_owned(),
            Occasion::Hung => "hung-start.".to_owned(),
            Occasion::AlreadyRunning => "second-start.".to_owned(),
            Occasion::Racing => "racing-start.".to_owned(),
            Occasion::Obstructed(obstacle) => format!("{}-start.", obstacle.word()),
        }
    }
}

/// What one request on a fresh connection met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// A good answer.
    Answered,
    /// ECONNREFUSED: nobody listens.
    Refused,
    /// Anything else, in words.
    Missing(String),
}

/// A launcher ended; what was found at that instant, before anything else was waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherReturn {
    /// Why it was launched.
    pub occasion: Occasion,
    /// What it was launched from.
    pub from: Launcher,
    /// Its standard streams were closed.
    pub closed: bool,
    /// Its pid.
    pub pid: Pid,
    /// How it ended.
    pub status: ExitStatus,
    /// The pidfile's content; `None` when there was none to read. Read first, within a fraction of a millisecond.
    pub pidfile: Option<String>,
    /// What a client met. Asked after the pidfile was read.
    pub answer: Answer,
}

/// The launcher's ties to whoever launched it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LauncherTies {
    /// What it is.
    pub from: Launcher,
    /// Its pid; `None` before there is one.
    pub pid: Option<Pid>,
    /// Its session.
    pub session: Option<Pid>,
    /// It had a controlling terminal, which was its standard input.
    pub terminal: bool,
    /// Its file mode creation mask.
    pub umask: u32,
    /// The names of the variables in its environment.
    #[serde(default)]
    pub variables: Vec<String>,
    /// It was launched with its standard streams closed.
    pub closed: bool,
    /// Its standard output and error as `/proc/PID/fd` shows them: `pipe:[123]`.
    pub pipes: Vec<String>,
    /// Further open descriptors that it was born with, in the same form.
    pub planted: Vec<String>,
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDescriptor {
    /// Its number.
    pub number: i32,
    /// Where its link in `/proc/PID/fd` points.
    pub link: String,
    /// How it is open: flags of open(2), as `/proc/PID/fdinfo` shows them, O_CLOEXEC among them.
    pub flags: u32,
    /// The inode that it leads to, whatever its name by now.
    pub inode: u64,
}

/// The access mode among the flags of open(2), and what makes a descriptor good for nothing but its path.
const ACCESS_MODE: u32 = 0o3;
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 0o1;
const CLOSE_ON_EXEC: u32 = 0o2_000_000;
const PATH_ONLY: u32 = 0o10_000_000;

impl OpenDescriptor {
    /// It is open for reading.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.flags & PATH_ONLY == 0 && self.flags & ACCESS_MODE != WRITE_ONLY
    }

    /// It is open for writing.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.flags & PATH_ONLY == 0 && self.flags & ACCESS_MODE != READ_ONLY
    }

    /// It is closed when another program is executed.
    #[must_use]
    pub fn closes_on_exec(&self) -> bool {
        self.flags & CLOSE_ON_EXEC != 0
    }
}

/// A thread, looked at closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadPortrait {
    /// Its id; that of the process for the main thread.
    pub tid: Pid,
    /// The signals that it blocks.
    pub blocked: SignalSet,
}

/// Whose a process is, by the numbers of users and groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its users: real, effective, saved, and of its accesses to files.
    pub users: [u32; 4],
    /// Its groups in the same order.
    pub groups: [u32; 4],
    /// Its supplementary groups.
    pub supplementary: Vec<u32>,
}

/// A process of the target, looked at closely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessPortrait {
    /// Its image.
    pub image: Image,
    /// Its parent.
    pub ppid: Pid,
    /// Its session.
    pub session: Pid,
    /// Its controlling terminal, 0 for none.
    pub tty: i32,
    /// Its working directory, with " (deleted)" after it was removed; `None` when it may not be looked at.
    pub directory: Option<String>,
    /// Its root directory, other than `/` after chroot(2); `None` as above.
    pub root: Option<String>,
    /// Its file mode creation mask; `None` as above.
    pub umask: Option<u32>,
    /// Whose it is; `None` when that was not to be read.
    pub identity: Option<Identity>,
    /// The signals that it ignores.
    pub ignored: SignalSet,
    /// The signals that it handles by a function.
    pub caught: SignalSet,
    /// The names of the variables that its program was executed with; `None` when it may not be looked at.
    pub variables: Option<Vec<String>>,
    /// Its threads by id.
    pub threads: Vec<ThreadPortrait>,
    /// Its open descriptors by number.
    pub descriptors: Vec<OpenDescriptor>,
}

/// A file of the target that the harness did not write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// Its path, below the target's directory.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
}

/// A daemon launched from somewhere else than its scenario's launcher, and stopped again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFrom {
    /// From where.
    pub from: Launcher,
    /// How the launcher ended; `None` when it had not by the start deadline.
    pub status: Option<ExitStatus>,
    /// What a client met, at the latest at the start deadline.
    pub answer: Answer,
    /// The declared stop ended the main process within its deadline; `None` where there was nothing to stop.
    pub stopped: Option<bool>,
}

/// A daemon at rest after its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonPortrait {
    /// What its launcher was tied to.
    pub launcher: LauncherTies,
    /// Who adopts orphans here.
    pub reaper: Pid,
    /// The directory that its manifest declares for it; `None` when it declares none.
    pub declared_directory: Option<String>,
    /// The main process.
    pub main: Image,
    /// Every living process of the target, the main one included.
    pub processes: Vec<ProcessPortrait>,
    /// The pidfile's content.
    pub pidfile: Option<String>,
    /// What it has put into its directory, by path.
    pub artefacts: Vec<Artefact>,
    /// The pidfile's permission bits.
    pub pidfile_mode: Option<u32>,
    /// The pidfile's inode.
    pub pidfile_inode: Option<u64>,
    /// The readers of the launcher's standard output and error saw their end of file.
    pub end_of_output: bool,
}

impl DaemonPortrait {
    /// The main process.
    #[must_use]
    pub fn main(&self) -> Option<&ProcessPortrait> {
        self.processes.iter().find(|process| process.image == self.main)
    }
}
