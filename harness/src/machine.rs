//! What this machine can do, probed once and then plain data: isolation tier, programs, kernel features.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Isolation tier, probed by attempting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Tier {
    /// Root: pid, mount, net, ipc, uts and cgroup namespaces.
    A,
    /// The same inside a user namespace, without root.
    B,
    /// Bare: a subreaper and a process group. What it cannot prove is inconclusive.
    C,
}

impl Tier {
    /// The target has a network namespace of its own: counters start at 0 and belong to it alone.
    #[must_use]
    pub fn isolates_network(self) -> bool {
        matches!(self, Tier::A | Tier::B)
    }

    /// The target has a pid namespace of its own: a scan of it misses nothing.
    #[must_use]
    pub fn isolates_processes(self) -> bool {
        matches!(self, Tier::A | Tier::B)
    }

    /// The target has a mount namespace of its own: what is mounted there is seen by nobody else.
    #[must_use]
    pub fn isolates_mounts(self) -> bool {
        matches!(self, Tier::A | Tier::B)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::A => "A",
            Tier::B => "B",
            Tier::C => "C",
        })
    }
}

/// The machine as probed; part of every plan and every history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The tier that runs will use.
    pub tier: Tier,
    /// Why a better tier is not used, in one sentence; empty for tier A.
    pub tier_reason: String,
    /// Kernel release (uname -r).
    pub kernel: String,
    /// Online processors.
    pub processors: usize,
    /// Effective uid outside of any namespace of ours.
    pub uid: u32,
    /// The seccomp user-notification hook on listen(2) works here.
    pub listen_hook: bool,
    /// Why systemd cannot be run in a sandbox here; `None` where it can, or where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_systemd: Option<String>,
    /// Why the number of a process's tasks cannot be bounded here (pids.max of cgroups(7)); `None` where it can, or where nobody
    /// asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_task_groups: Option<String>,
    /// Why clients cannot have a network namespace of their own here, joined to the target's, with faults on the path between the two;
    /// `None` where they can, or where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_clients: Option<String>,
    /// Programs that manifests ask for: name to absolute path, `None` when not found on PATH.
    pub programs: BTreeMap<String, Option<String>>,
}
