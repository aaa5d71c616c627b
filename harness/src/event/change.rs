//! What changed in the process tree, or of the pidfile.

use serde::{Deserialize, Serialize};

use crate::id::Pid;

/// A change in the process tree, by sampling `/proc` of the target's pid namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessChange {
    /// First seen (a fork, or an exec that made a new image of the same pid).
    Appeared {
        /// Parent at that sample.
        ppid: Pid,
        /// Session id.
        session: Pid,
        /// Controlling terminal, 0 for none.
        tty: i32,
        /// Command name (`comm`).
        name: String,
        /// Executable link, with " (deleted)" after its file was replaced; empty when unreadable.
        executable: String,
    },
    /// Its parent changed.
    Reparented {
        /// The new parent.
        ppid: Pid,
    },
    /// It left its session or its terminal (setsid(2)): the first sight of a daemon often comes before that.
    MovedSession {
        /// The session id now.
        session: Pid,
        /// The controlling terminal now, 0 for none.
        tty: i32,
    },
    /// Gone, or a zombie.
    Gone,
}

/// What inotify said of the pidfile's name, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PidfileChange {
    /// IN_CREATE of the name.
    Created,
    /// IN_MODIFY: written or truncated in place.
    Modified,
    /// IN_CLOSE_WRITE.
    ClosedAfterWrite,
    /// IN_DELETE of the name.
    Deleted,
    /// IN_MOVED_FROM: renamed away.
    MovedAway,
    /// IN_MOVED_TO: another file renamed over (or to) the name.
    MovedOver,
    /// Not an event: the state when watching began or at a named instant.
    Read,
}
