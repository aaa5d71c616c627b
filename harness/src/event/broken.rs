//! What is deployed to fail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is broken: what an executable does, once it has left its mark, or the configuration of one that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Broken {
    /// It exits with 1.
    #[default]
    Exits,
    /// It is killed by SIGSEGV.
    Crashes,
    /// It lives on and never becomes ready.
    Hangs,
    /// It is whole, and its configuration is invalid (capability `config-file`).
    Misconfigured,
}

impl Broken {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Broken::Exits => "exits",
            Broken::Crashes => "crashes",
            Broken::Hangs => "hangs",
            Broken::Misconfigured => "misconfigured",
        }
    }
}
