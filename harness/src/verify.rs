//! The pipeline on one screen: plan, execute, judge, merge.

use std::path::PathBuf;

use crate::expectation::Expectation;
use crate::machine::Machine;
use crate::scenario::Scenario;
use crate::target::Target;

/// A target and its known failures.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The implementation under test.
    pub target: Target,
    /// Its known failures.
    pub expectations: Vec<Expectation>,
}

/// What to verify, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The targets.
    pub subjects: Vec<Subject>,
    /// The scenarios to run against each.
    pub scenarios: Vec<Scenario>,
    /// Ids or prefixes ("handoff", "handoff/no-refused") of the checks to judge; empty for all.
    pub run: Vec<String>,
    /// Ids or prefixes of checks to leave out.
    pub skip: Vec<String>,
    /// How often each scenario is run.
    pub runs: u32,
    /// Seed of the random choices.
    pub seed: u64,
    /// A failed SHOULD counts as a failed MUST.
    pub strict: bool,
    /// Nothing was left out by a selector: an expectation that matches nothing is a failure.
    pub complete: bool,
    /// Keep the directories of passed runs too.
    pub keep: bool,
    /// Where the runs' directories go.
    pub directory: PathBuf,
    /// The machine as probed.
    pub machine: Machine,
}
