//! What can be wrong with a scenario.

use crate::manifest::{Capability, did_you_mean};

/// A full frame of Ethernet: 1500 bytes and its head.
pub(super) const FRAME: u32 = 1514;

/// Why a scenario cannot be run or judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptProblem {
    /// A list that must not be empty.
    #[error("the list is empty")]
    Empty {
        /// What it should hold at least one of.
        of: &'static str,
    },
    /// The same thing twice.
    #[error("`{what}` stands here twice")]
    Twice {
        /// It.
        what: String,
    },
    /// A check that the registry does not have.
    #[error("there is no check `{id}`")]
    UnknownCheck {
        /// It.
        id: String,
        /// The checks that exist.
        known: Vec<String>,
    },
    /// Two hooks on one launch: a task can have one (seccomp(2), EBUSY).
    #[error("`adversary` and `listen_hook` exclude each other")]
    TwoHooks,
    /// A step that cannot come here.
    #[error("`{step}` cannot come here: {reason}")]
    Order {
        /// The step's word.
        step: &'static str,
        /// Why, after a colon.
        reason: &'static str,
        /// What to do about it.
        fix: &'static str,
    },
    /// The list ends too early.
    #[error("the steps end too early: {reason}")]
    Unfinished {
        /// Why, after a colon.
        reason: &'static str,
        /// What to do about it.
        fix: &'static str,
    },
    /// A step that only some targets can do.
    #[error("`{step}` needs the capability `{}`", .capability.word())]
    Needs {
        /// The step's word.
        step: &'static str,
        /// What it needs.
        capability: Capability,
    },
    /// A step that only targets with the profile restart can do.
    #[error("`{step}` needs the profile `restart`")]
    NeedsRestart {
        /// The step's word.
        step: &'static str,
    },
    /// A step that only daemons can do.
    #[error("`{step}` needs the profile `daemon`")]
    NeedsDaemon {
        /// The step's word.
        step: &'static str,
    },
    /// A step of a target that is pid 1.
    #[error("`{step}` is for a target that is pid 1")]
    NeedsContainer {
        /// The step.
        step: &'static str,
    },
    /// A daemon as pid 1.
    #[error("a launcher that is pid 1 and returns ends its daemon: the kernel ends the whole namespace")]
    FirstReturns,
    /// A step that needs a terminal.
    #[error("`{step}` needs a launcher with a terminal")]
    NeedsTerminal {
        /// The step's word.
        step: &'static str,
    },
    /// A step that needs somebody to restart the target.
    #[error("`{step}` needs a supervisor")]
    NeedsSupervisor {
        /// The step's word.
        step: &'static str,
    },
    /// A step, or the key `socket`, that only systemd knows what to do with.
    #[error("`{step}` needs systemd")]
    NeedsSystemd {
        /// The step's word.
        step: &'static str,
    },
    /// A step that takes the main process out of what its supervisor has put it into.
    #[error("`{step}` cannot be taken under a supervisor")]
    NeedsNoSupervisor {
        /// The step's word.
        step: &'static str,
    },
    /// A step that disturbs a path which is none where clients are on the target's own loopback.
    #[error("`{step}` needs clients that are beyond a path")]
    NeedsVeth {
        /// The step's word.
        step: &'static str,
    },
    /// A token bucket that lets nothing go.
    #[error("a burst of {bytes} bytes holds no frame of {FRAME}")]
    Burst {
        /// Its size.
        bytes: u32,
    },
    /// A step that needs a socket which systemd holds.
    #[error("`{step}` needs a socket that systemd holds")]
    NeedsSocket {
        /// The step's word.
        step: &'static str,
    },
    /// A number that must not be 0.
    #[error("0 is not possible here")]
    Zero,
    /// A pattern that is not begun by `load`.
    #[error("the pattern `{pattern}` is not begun by `load`")]
    Pattern {
        /// Its word.
        pattern: &'static str,
    },
}

impl ScriptProblem {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            ScriptProblem::Empty { of } => format!("name at least one {of}"),
            ScriptProblem::Twice { .. } => "remove one of them".to_owned(),
            ScriptProblem::UnknownCheck { id, known } => did_you_mean(id, known.iter().map(String::as_str)),
            ScriptProblem::Order { fix, .. } | ScriptProblem::Unfinished { fix, .. } => (*fix).to_owned(),
            ScriptProblem::Needs { capability, .. } => format!("add `needs = [\"{}\"]`", capability.word()),
            ScriptProblem::TwoHooks => "remove one of them, or make two scenarios".to_owned(),
            ScriptProblem::NeedsRestart { .. } => "set `profile = \"restart\"`".to_owned(),
            ScriptProblem::NeedsDaemon { .. } => "set `profile = \"daemon\"`".to_owned(),
            ScriptProblem::NeedsContainer { .. } => "set `launcher = \"container\"`".to_owned(),
            ScriptProblem::FirstReturns => "use another launcher, or another profile".to_owned(),
            ScriptProblem::NeedsTerminal { .. } => "set `launcher = \"terminal\"`".to_owned(),
            ScriptProblem::NeedsSupervisor { .. } => "set `supervisor = \"supervisord\"`".to_owned(),
            ScriptProblem::NeedsSystemd { .. } => "set `supervisor = \"systemd\"`".to_owned(),
            ScriptProblem::NeedsNoSupervisor { .. } => "leave `supervisor` out".to_owned(),
            ScriptProblem::NeedsVeth { .. } => "set `network = \"veth\"`".to_owned(),
            ScriptProblem::Burst { .. } => format!("write {FRAME} or more"),
            ScriptProblem::NeedsSocket { .. } => "set `socket = true`".to_owned(),
            ScriptProblem::Zero => "write a number from 1 on".to_owned(),
            ScriptProblem::Pattern { .. } => {
                "`park` parks connections, and the canary always runs: use `fresh`, `busy`, `slow`, `idle`, `silent`, `half`, `reader`, `upload`".to_owned()
            }
        }
    }
}
