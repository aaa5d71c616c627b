//! What is done to the packets between the target and its clients, where these are in a network namespace of their own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::UpgradeId;

/// A fault of the path between the target and its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PathFault {
    /// No packet of TCP arrives, at either end: what was sent has to be sent again.
    Drop,
    /// Every connect is answered with RST by the path, as a packet filter does it; what is connected goes on.
    Reject,
    /// What the target sends waits until the rate of a token bucket lets it go (tc-tbf(8)).
    Shape(Shape),
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Thousands of bits a second that it lets go.
    pub rate_kbit: u32,
    /// So many bytes may go at once; at least a frame of Ethernet.
    pub burst_bytes: u32,
    /// How long something may wait in it; what would have to wait longer is lost.
    pub latency_ms: u32,
}

impl PathFault {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PathFault::Drop => "drop",
            PathFault::Reject => "reject",
            PathFault::Shape(_) => "shape",
        }
    }
}

/// From now on the path has a fault (`not_after`: it has).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathDisturbed {
    /// Across which upgrade.
    pub upgrade: UpgradeId,
    /// Which.
    pub fault: PathFault,
}

/// It has none any more (`not_before`: it had).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCleared {
    /// Across which upgrade it had one.
    pub upgrade: UpgradeId,
    /// What has met it, as the kernel counted.
    pub met: PathMet,
}

/// What has met a fault of the path, by the kernel's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathMet {
    /// Packets were lost.
    Lost {
        /// Of those that came to the target.
        to_target: u64,
        /// Of those that came to its clients.
        to_clients: u64,
    },
    /// Connects were answered with RST.
    Rejected {
        /// How many.
        connects: u64,
    },
    /// Something went through a token bucket.
    Shaped(PassedShape),
}

/// What has come by a token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedShape {
    /// Bytes that it has let go.
    pub bytes: u64,
    /// How often the next packet had to wait.
    pub waits: u32,
    /// Packets that were lost, as they would have waited for too long.
    pub lost: u32,
    /// Bytes that waited in it in the end.
    pub waiting_bytes: u32,
}
