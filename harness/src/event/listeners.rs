//! The further listeners of a target through an upgrade, as clients met them.

use serde::{Deserialize, Serialize};

use super::Answer;
use crate::id::Version;

/// What becomes of a listener in an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Both versions have it.
    Kept,
    /// The new version has it.
    Added,
    /// The old version had it.
    Dropped,
}

/// The listening sockets of one address. More than one share it by SO_REUSEPORT (socket(7)), and the kernel spreads clients over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// As many as the manifest tells of.
    pub declared: u32,
    /// Before the upgrade.
    pub before: u32,
    /// When the old generation was gone.
    pub after: u32,
}

/// One listener, asked again and again: before the upgrade, from its trigger until the old generation was gone, and after. One that
/// is added, or dropped, is only asked after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedListener {
    /// Its address, "unix:@name" too.
    pub address: String,
    /// What was to become of it.
    pub fate: Fate,
    /// How many requests were sent, each on a connection of its own.
    pub asked: u32,
    /// What those met that were not answered, with the time: the first few.
    pub failures: Vec<String>,
    /// How many those were in all.
    pub failed: u32,
    /// How many of those had no answer in the time that a request has, and met nothing else.
    pub late: u32,
    /// What the last request met, when the old generation was gone.
    pub last: Answer,
    /// The version of that answer.
    pub version: Option<Version>,
    /// What listens there; `None` for UNIX sockets, whose names no two share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<Sockets>,
    /// How often the name of its file was missing (inotify(7)); `None` where it has no file, or that could not be watched.
    pub missing: Option<u32>,
}
