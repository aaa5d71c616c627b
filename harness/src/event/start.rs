//! Starts that meet something: a daemon that runs already, or what lies in the pidfile's place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, ExitStatus, What};
use crate::id::{Image, Pid};

impl What {
    /// It tells of something that the harness tried and of what came of it, and spans that from begin to end: whatever was
    /// waited for was waited for between its two instants.
    #[must_use]
    pub fn is_attempt(&self) -> bool {
        matches!(
            self,
            What::StartedFrom(_)
                | What::StartedAgain(_)
                | What::StartedObstructed(_)
                | What::StartedRelative(_)
                | What::StartsRaced(_)
                | What::RestartedBeside(_)
                | What::MarkedStart { .. }
                | What::CommandedStop(_)
                | What::CommandedStatus(_)
                | What::ConfigTested { .. }
                | What::Succeeded(_)
                | What::CameBack(_)
        )
    }
}

/// What a name in the file system is, without following a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Nothing.
    Absent,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A directory.
    Directory,
    /// A device or a socket.
    Other,
}

impl FileKind {
    /// It in words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            FileKind::Absent => "nothing",
            FileKind::Regular => "a regular file",
            FileKind::Symlink => "a symbolic link",
            FileKind::Fifo => "a FIFO",
            FileKind::Directory => "a directory",
            FileKind::Other => "a device or a socket",
        }
    }
}

/// A look at a name in the file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLook {
    /// What it is.
    pub kind: FileKind,
    /// Its inode; 0 when it is absent.
    pub inode: u64,
    /// Its permission bits; 0 when it is absent.
    pub mode: u32,
    /// The bytes of a regular file, lossily decoded; of anything else they are not read.
    pub content: Option<String>,
}

/// A launch while the daemon ran, and what became of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondStart {
    /// How its launcher ended; `None` when it had not by the start deadline.
    pub status: Option<ExitStatus>,
    /// The daemon that ran before.
    pub daemon: Pid,
    /// It lives on.
    pub lives: bool,
    /// What a client met afterwards.
    pub answer: Answer,
    /// The pidfile's name before the launch.
    pub before: FileLook,
    /// The same afterwards.
    pub after: FileLook,
}

/// What lies in the pidfile's place before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// A file with a pid that nobody has any more.
    DeadPid,
    /// A file with the pid of a living process that is not the daemon.
    ReusedPid,
    /// An empty file.
    Empty,
    /// A file with bytes that are no number.
    Garbage,
    /// A file with a pid that nobody has, and more behind it than any pid is long.
    Longer,
    /// A symbolic link to another file.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A directory.
    Directory,
}

impl Obstacle {
    /// The word as it stands in scenarios, and in the names of output streams.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Obstacle::DeadPid => "dead-pid",
            Obstacle::ReusedPid => "reused-pid",
            Obstacle::Empty => "empty",
            Obstacle::Garbage => "garbage",
            Obstacle::Longer => "longer",
            Obstacle::Symlink => "symlink",
            Obstacle::Fifo => "fifo",
            Obstacle::Directory => "directory",
        }
    }

    /// A regular file: what a daemon that was killed, or a full disk, leaves behind.
    #[must_use]
    pub fn is_stale(self) -> bool {
        match self {
            Obstacle::DeadPid | Obstacle::ReusedPid | Obstacle::Empty | Obstacle::Garbage | Obstacle::Longer => true,
            Obstacle::Symlink | Obstacle::Fifo | Obstacle::Directory => false,
        }
    }
}

/// A start with something in the pidfile's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObstructedStart {
    /// What.
    pub obstacle: Obstacle,
    /// What was seen of it right before the launch.
    pub before: FileLook,
    /// How the launcher ended; `None` when it had not in the time that it was given.
    pub status: Option<ExitStatus>,
    /// The main process of the daemon that serves afterwards.
    pub daemon: Option<Pid>,
    /// What lies there when the daemon is at rest, or the start has failed.
    pub after: FileLook,
    /// The file behind the symbolic link, before and after.
    pub victim: Option<[FileLook; 2]>,
    /// The process whose pid lay there lives and runs.
    pub bystander_lives: Option<bool>,
}

/// The main process was killed, and the target started again while others of its processes lived on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartBeside {
    /// Who was killed.
    pub killed: Pid,
    /// Who of its processes lived on, from before the start until after it.
    pub helpers: Vec<Image>,
    /// What a client met after the start; `None` when that failed.
    pub answer: Option<Answer>,
}

/// Launches at the same time, and what they left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRace {
    /// Which, from 1.
    pub round: u32,
    /// How each launcher ended; `None` when it had not by the start deadline.
    pub statuses: Vec<Option<ExitStatus>>,
    /// Living processes whose parent is the reaper, once all launchers had returned and the losers had time to end.
    pub daemons: Vec<Pid>,
    /// What a client met then: an answer is waited for where a launcher has ended with 0.
    pub answer: Answer,
}
