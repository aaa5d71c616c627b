//! A SIGKILL, or a SIGSTOP, in the middle of an upgrade.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{Image, UpgradeId};

/// A side of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Whoever held the listener before the trigger; the main process, the keeper, excepted.
    Old,
    /// Whoever began after the trigger and holds the listener.
    New,
}

impl Side {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Side::Old => "old",
            Side::New => "new",
        }
    }
}

/// One side of an upgrade was killed as soon as the other one was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killing {
    /// Which upgrade.
    pub upgrade: UpgradeId,
    /// Which side.
    pub side: Side,
    /// Who of it lived and was killed.
    pub images: Vec<Image>,
    /// Where the new side was killed in the middle of an upgrade: whether somebody of the old one held a listener until then. Without
    /// one it had gone already, for a successor that was ready, or too early: nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_listens: Option<bool>,
}

/// One side of an upgrade stood still from then on, as soon as the other one was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Which upgrade.
    pub upgrade: UpgradeId,
    /// Which side.
    pub side: Side,
    /// Who of it lived and stands still.
    pub images: Vec<Image>,
}
