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
    /// Address of the bottom of the stack; 0 while there is none, in execve(2) and from the middle of exit(2) on.
    pub start_stack: u64,
}

impl Image {
    /// Whether what was seen of a pid can be this image still: the same process, and no other program in it. One without
    /// a stack is between two programs, or on its way out.
    #[must_use]
    pub fn is_still(&self, seen: &Image) -> bool {
        (self.pid, self.start_ticks) == (seen.pid, seen.start_ticks)
            && (seen.start_stack == self.start_stack || seen.start_stack == 0)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_has_lost_its_stack_is_still_the_same_and_one_with_another_is_not() {
        let image = Image { pid: Pid(2), start_ticks: 7, start_stack: 100 };
        assert!(image.is_still(&image) && image.is_still(&Image { start_stack: 0, ..image }));
        assert!(!image.is_still(&Image { start_stack: 200, ..image }));
        assert!(!image.is_still(&Image { start_ticks: 8, ..image }));
    }
}
