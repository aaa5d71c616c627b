//! What is seen of a target in the hands of a supervisor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Answer;
use crate::id::{Image, Pid};

/// When systemd was asked about the target's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitMoment {
    /// While a process of the unit had stood in its listen(2) for a while: it could serve nobody.
    Held,
    /// Once the start was over, well or not.
    Started,
    /// Once it had been reloaded, well or not.
    Reloaded,
    /// Two watchdog intervals after that.
    Watched,
    /// Once the main process, told to stop behind systemd's back, had ended, and time enough for another start had passed.
    Ended,
    /// Once it had been killed so often that it was not started again.
    GivenUp,
    /// Once a start was over that stood in its listen(2) for longer than TimeoutStartSec=.
    TimedOut,
    /// After the stop.
    Stopped,
}

/// What came of a main process that was killed under its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComeBack {
    /// Who was killed.
    pub killed: Pid,
    /// Who was started instead and lives.
    pub main: Option<Pid>,
    /// How often the supervisor has started it since.
    pub starts: usize,
    /// The supervisor calls it running.
    pub running: bool,
    /// What a client met then.
    pub answer: Answer,
    /// Processes of the killed one that still lived.
    pub survivors: Vec<Image>,
}

/// A stop through a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisedStop {
    /// The supervisor lost patience and sent SIGKILL.
    pub killed: bool,
    /// Processes of the target that still lived afterwards.
    pub living: Vec<Image>,
}

/// Why nobody of the target was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absence {
    /// The supervisor had stopped it.
    Stopped,
    /// Its main process had been killed.
    Killed,
}

/// A request that waited in the supervisor's socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedRequest {
    /// Why it had to wait.
    pub absence: Absence,
    /// What became of it.
    pub answer: Answer,
}

/// A resource limit (getrlimit(2)); `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The one that binds.
    pub soft: Option<u64>,
    /// The one up to which a process may raise it.
    pub hard: Option<u64>,
}

/// All of them, by the names of `/proc/PID/limits` ("Max open files").
pub type Limits = BTreeMap<String, Limit>;

/// Those of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Whose.
    pub image: Image,
    /// Its limits.
    pub limits: Limits,
}

/// The limits that a supervisor gives, and those that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsSeen {
    /// Of a process that the supervisor started with the same settings, which changes none.
    pub given: Limits,
    /// Of the target's main process and of all that hold a listener.
    pub processes: Vec<ProcessLimits>,
}
