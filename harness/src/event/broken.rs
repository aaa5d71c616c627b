//! Executables that are deployed to fail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a broken executable does, once it has left its mark.
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
}

impl Broken {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Broken::Exits => "exits",
            Broken::Crashes => "crashes",
            Broken::Hangs => "hangs",
        }
    }
}
