//! What a load was: the head of its report, and of its file.

use serde::{Deserialize, Serialize};

use super::{DrivePlan, Pace};
use crate::manifest::Protocol;

/// The number of the form of reports and files.
pub const FORMAT: u32 = 1;

/// What was asked, by whom and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heading {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program.
    pub version: String,
    /// Commit of its source, where it is known.
    pub commit: Option<String>,
    /// When it began (UTC).
    pub began: String,
    /// Where requests went: an address, `unix:PATH` or `unix:@NAME`.
    pub to: String,
    /// What was spoken; files of before there was a choice have HTTP alone.
    #[serde(default)]
    pub protocol: Protocol,
    /// Their path.
    pub path: String,
    /// How many connections at a time.
    pub connections: u32,
    /// Threads that shared them; files of before there was a choice have one.
    #[serde(default = "one")]
    pub threads: u32,
    /// Each carried one request after the other.
    pub kept: bool,
    /// Requests a second that were meant; absent in a closed loop.
    pub rate: Option<f64>,
    /// For how long requests began, in milliseconds.
    pub duration_ms: u64,
}

impl Heading {
    /// Of this load.
    #[must_use]
    pub fn new(plan: &DrivePlan, began: String, commit: Option<String>) -> Heading {
        Heading {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit,
            began,
            to: plan.to.to_string(),
            protocol: plan.protocol,
            path: plan.path.clone(),
            connections: plan.connections,
            threads: plan.threads,
            kept: plan.kept,
            rate: if let Pace::PerSecond(rate) = plan.pace { Some(rate) } else { None },
            duration_ms: u64::try_from(plan.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn one() -> u32 {
    1
}
