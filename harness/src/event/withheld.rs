//! What an upgrade is made to go without.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::UpgradeId;

/// Something that an upgrade may need, and that can be kept from the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Processes and threads of the main process, or begun by it: EAGAIN of fork(2).
    Processes,
    /// Descriptors of the main process: EMFILE.
    Descriptors,
    /// Room on the file system of the target's directory: ENOSPC of write(2).
    Disk,
}

impl Resource {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Resource::Processes => "processes",
            Resource::Descriptors => "descriptors",
            Resource::Disk => "disk",
        }
    }
}

/// From now on there is no more of it than is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// From which upgrade.
    pub upgrade: UpgradeId,
    /// What.
    pub resource: Resource,
    /// How much there is: tasks of the main process's control group; numbers of its descriptors; bytes of the file system.
    pub limit: u64,
    /// How much of that was in use right after that. A descriptor that a thread waiting in accept(2) holds ready is not among them.
    pub used: u64,
    /// Of descriptors: how many connections of ours lay in its accept queue then, because it could not take them.
    #[serde(default)]
    pub waiting: u32,
}

/// There is enough of it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// From which upgrade it was withheld.
    pub upgrade: UpgradeId,
    /// What.
    pub resource: Resource,
    /// How often somebody was refused it, where that can be known: by the kernel's count of tasks that could not be made; of a
    /// full file system by a byte that the harness tried to write there, just before.
    pub refused: Option<u64>,
}
