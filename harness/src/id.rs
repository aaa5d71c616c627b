//! Identities: of processes and images, versions, upgrades, connections and requests.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A process id as the target sees it, in its own pid namespace. Not an identity: see [`Image`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One program in one process: `exec` keeps pid and start time but changes the start of the stack
/// (fields 1, 22 and 28 of `/proc/PID/stat`, proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Image {
    /// Process id in the target's namespace.
    pub pid: Pid,
    /// Start time in clock ticks since boot (10 ms granularity).
    pub start_ticks: u64,
    /// Address of the bottom of the stack; 0 for a zombie.
    pub start_stack: u64,
}

/// The deployed version, counted from 1; `deploy` adds one. Carried by answers where the manifest says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The n-th upgrade of a run, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpgradeId(pub u32);

impl fmt::Display for UpgradeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A socket's identity in the kernel: SO_COOKIE, kept over fork and exec, new on a rebind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cookie(pub u64);

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}
