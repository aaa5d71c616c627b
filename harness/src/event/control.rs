//! What a target's own commands did, and what it did to a pidfile that was not as it had written it.

use serde::{Deserialize, Serialize};

use super::{ExitStatus, FileLook, Obstacle};
use crate::id::Pid;

/// A number in a pidfile that is not the daemon's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stranger {
    /// The pid of a living process.
    Reused,
    /// 0, which kill(2) takes for the caller's own process group.
    Zero,
    /// 1, the init; with a minus sign before it, everybody.
    One,
    /// A minus sign and the pid of a living process: its process group.
    Group,
    /// The pid of a living process, and a letter.
    Tail,
}

impl Stranger {
    /// All of them.
    pub const ALL: [Stranger; 5] = [Stranger::Reused, Stranger::Zero, Stranger::One, Stranger::Group, Stranger::Tail];

    /// The line that lies in the pidfile when this is the living process, which leads its group.
    #[must_use]
    pub fn line(self, living: Pid) -> String {
        match self {
            Stranger::Reused => format!("{living}\n"),
            Stranger::Zero => "0\n".to_owned(),
            Stranger::One => "1\n".to_owned(),
            Stranger::Group => format!("-{living}\n"),
            Stranger::Tail => format!("{living}x\n"),
        }
    }
}

/// A stop command that was run after the daemon had ended, while the pidfile named somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandedStop {
    /// Whom.
    pub stranger: Stranger,
    /// What lay there.
    pub content: String,
    /// How the command ended; `None` when it had not by the stop deadline.
    pub status: Option<ExitStatus>,
    /// A process that has nothing to do with the target, whom the content names if it names anybody.
    pub bystander: Pid,
    /// It sleeps as before: no signal has reached it.
    pub unharmed: bool,
}

/// A look at a name, with the time of the file's last change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatedLook {
    /// What lies there.
    pub look: FileLook,
    /// Its modification time in nanoseconds since 1970; set back by the harness before the first of two looks. 0 when absent.
    pub modified: i64,
}

/// A status command that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandedStatus {
    /// The daemon ran, and was left alone; `None` when it did not run.
    pub daemon_lives: Option<bool>,
    /// What lay in the pidfile's place when the daemon did not run.
    pub obstacle: Option<Obstacle>,
    /// How the command ended; `None` when it had not in the time that it was given.
    pub status: Option<ExitStatus>,
    /// The pidfile's name before it.
    pub before: DatedLook,
    /// The same afterwards.
    pub after: DatedLook,
}

/// A stop while a successor's file has the pidfile's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// The main process that was stopped.
    pub daemon: Pid,
    /// It has ended.
    pub ended: bool,
    /// The successor's file before the stop.
    pub before: FileLook,
    /// What lies there afterwards.
    pub after: FileLook,
}

/// A start with a relative path of the pidfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelativeStart {
    /// The path as the command had it.
    pub given: String,
    /// The main process, once it was ready; `None` when it never was.
    pub daemon: Option<Pid>,
    /// It never was, and no process of it is left.
    pub gone: bool,
    /// What lies at the place that the path means from the starting directory, when the daemon is at rest.
    pub there: FileLook,
}
