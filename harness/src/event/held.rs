//! What became of connections that were held open through an upgrade.

use serde::{Deserialize, Serialize};

use super::Answer;

/// A change of a held connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldChange {
    /// It ended, with half a request on it, since it was last seen open (`not_before`).
    Ended(HeldEnd),
    /// It was still open when the watch ended.
    Open,
    /// The rest of its request was sent (the event spans the write).
    Completed,
    /// What came of that request.
    Answered(Answer),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldEnd {
    /// FIN.
    Closed,
    /// RST.
    Reset,
    /// An answer to half a request, such as status 408.
    Answered,
}

impl HeldEnd {
    /// In words: a connection "was closed".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            HeldEnd::Closed => "was closed",
            HeldEnd::Reset => "was reset",
            HeldEnd::Answered => "was answered before its request was whole",
        }
    }
}
