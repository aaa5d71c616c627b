//! Expectations: the failures that a target is known to have, each with its reason.
//!
//! An expected failure that passes fails the run, one that matches nothing fails the run, a failure of another class
//! fails the run; `error` is never excused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request::FailureClass;

/// An expectations file: the known failures of one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// The target's name.
    pub target: String,
    /// Its known failures.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

/// One known failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The check's id.
    pub check: String,
    /// Always or by chance.
    pub kind: ExpectationKind,
    /// Why, in one sentence.
    pub reason: String,
    /// Where it is known upstream.
    #[serde(default)]
    pub upstream: Option<String>,
    /// The failure class; a failure of another class is unexpected.
    #[serde(default)]
    pub class: Option<FailureClass>,
    /// How often it was seen, "k of N" (for `may-fail`).
    #[serde(default)]
    pub observed: Option<String>,
}

/// Whether the failure is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectationKind {
    /// Fails every time.
    Fail,
    /// Decided by chance; only for checks marked so.
    MayFail,
}
