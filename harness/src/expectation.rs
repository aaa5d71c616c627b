//! Expectations: the failures that a target is known to have, each with its reason.
//!
//! An expected failure that passes fails the run, one that matches nothing fails the run, a failure of another class
//! fails the run; `error` is never excused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{KeyPath, ManifestError, Part, Source, did_you_mean};
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
    /// The scenarios in which it fails, by their whole names, all of them; in others it is to pass. None: wherever it is judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scenarios: Vec<String>,
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

/// The JSON Schema of an expectations file, generated from its types. `docs/expectations.schema.json` is this.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Expectations).to_value()
}

/// Why an expectation cannot be held against a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpectationProblem {
    /// A target that does not exist.
    #[error("there is no target `{name}`")]
    UnknownTarget {
        /// It.
        name: String,
        /// The targets that exist.
        known: Vec<String>,
    },
    /// A check that the registry does not have.
    #[error("there is no check `{id}`")]
    UnknownCheck {
        /// It.
        id: String,
        /// The checks that exist.
        known: Vec<String>,
    },
    /// A scenario that does not exist.
    #[error("there is no scenario `{name}`")]
    UnknownScenario {
        /// It.
        name: String,
        /// The scenarios that exist.
        known: Vec<String>,
    },
    /// The same check, class and scenarios twice.
    #[error("`{check}` is expected twice with the same class and scenarios")]
    Twice {
        /// The check.
        check: String,
    },
    /// Nothing is said.
    #[error("the reason is empty")]
    NoReason,
    /// A loss of requests by chance without its class.
    #[error("a failure by chance needs its class")]
    NoClass,
    /// A failure by chance without its frequency.
    #[error("a failure by chance needs the number of times it was seen")]
    NoCount,
    /// Not "k of N".
    #[error("`{text}` is not a number of times")]
    BadCount {
        /// It.
        text: String,
    },
}

impl ExpectationProblem {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            ExpectationProblem::UnknownTarget { name, known } => did_you_mean(name, known.iter().map(String::as_str)),
            ExpectationProblem::UnknownCheck { id: name, known }
            | ExpectationProblem::UnknownScenario { name, known } => {
                did_you_mean(name, known.iter().map(String::as_str))
            }
            ExpectationProblem::Twice { .. } => "remove one of them".to_owned(),
            ExpectationProblem::NoReason => "say in one sentence why it fails".to_owned(),
            ExpectationProblem::NoClass => "add the failure class, such as `class = \"unread\"`".to_owned(),
            ExpectationProblem::NoCount | ExpectationProblem::BadCount { .. } => {
                "write how often it was seen: `observed = \"3 of 20\"`".to_owned()
            }
        }
    }
}

impl Expectations {
    /// Reads and validates the text of an expectations file; `file_name` is what errors show.
    ///
    /// # Errors
    /// The first thing in it that is wrong, with its place and the fix.
    pub fn parse(text: &str, file_name: &str) -> Result<Expectations, ManifestError> {
        let source = Source::new(file_name, text);
        let expectations: Expectations = source.read()?;
        expectations.validate(&source)?;
        Ok(expectations)
    }

    /// Validates what was read from `source`. Whether target and checks exist is
    /// [`Expectations::require_target`] and [`Expectations::require_checks`].
    ///
    /// # Errors
    /// The first thing in it that is wrong, with its place and the fix.
    pub fn validate(&self, source: &Source) -> Result<(), ManifestError> {
        crate::target::name(&self.target)
            .map_err(|problem| source.error(KeyPath::of("target"), Part::Value, problem))?;
        for (n, expectation) in self.expect.iter().enumerate() {
            let at = |key: &str| KeyPath::of("expect").index(n).key(key);
            let check = &expectation.check;
            crate::target::check_id(check).map_err(|problem| source.error(at("check"), Part::Value, problem))?;
            let same = |earlier: &Expectation| {
                earlier.check == *check
                    && earlier.class == expectation.class
                    && earlier.scenarios == expectation.scenarios
            };
            if self.expect[..n].iter().any(same) {
                let problem = ExpectationProblem::Twice { check: check.clone() };
                return Err(source.error(at("check"), Part::Value, problem));
            }
            expectation.says_enough().map_err(|(key, problem)| source.error(at(key), Part::Value, problem))?;
        }
        Ok(())
    }

    /// The target is one of `known`; `source` is the text that these expectations were read from.
    ///
    /// # Errors
    /// The name is not known; the nearest one is told.
    pub fn require_target(&self, known: &[&str], source: &Source) -> Result<(), ManifestError> {
        if known.contains(&self.target.as_str()) {
            return Ok(());
        }
        let known = known.iter().map(|name| (*name).to_owned()).collect();
        let problem = ExpectationProblem::UnknownTarget { name: self.target.clone(), known };
        Err(source.error(KeyPath::of("target"), Part::Value, problem))
    }

    /// Every scenario is one of `known`; `source` is the text that these expectations were read from.
    ///
    /// # Errors
    /// The first name that is not known, with its place and the nearest one.
    pub fn require_scenarios(&self, known: &[&str], source: &Source) -> Result<(), ManifestError> {
        for (n, expectation) in self.expect.iter().enumerate() {
            if let Some(m) = expectation.scenarios.iter().position(|name| !known.contains(&name.as_str())) {
                let known = known.iter().map(|name| (*name).to_owned()).collect();
                let problem = ExpectationProblem::UnknownScenario { name: expectation.scenarios[m].clone(), known };
                let place = KeyPath::of("expect").index(n).key("scenarios").index(m);
                return Err(source.error(place, Part::Value, problem));
            }
        }
        Ok(())
    }

    /// Every check is one of `known`; `source` is the text that these expectations were read from.
    ///
    /// # Errors
    /// The first id that is not known, with its place and the nearest one.
    pub fn require_checks(&self, known: &[&str], source: &Source) -> Result<(), ManifestError> {
        match self.expect.iter().position(|expectation| !known.contains(&expectation.check.as_str())) {
            None => Ok(()),
            Some(n) => {
                let known = known.iter().map(|id| (*id).to_owned()).collect();
                let problem = ExpectationProblem::UnknownCheck { id: self.expect[n].check.clone(), known };
                Err(source.error(KeyPath::of("expect").index(n).key("check"), Part::Value, problem))
            }
        }
    }
}

impl Expectation {
    /// Whether it says anything of this scenario.
    #[must_use]
    pub fn concerns(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|it| it == scenario)
    }

    /// " in restart/storm" where it fails only there, to be said behind how it fails; else nothing.
    #[must_use]
    pub fn scope(&self) -> String {
        if self.scenarios.is_empty() { String::new() } else { format!(" in {}", self.scenarios.join(", ")) }
    }

    /// The key at fault and the problem, where this excuses a failure without saying which and how often.
    fn says_enough(&self) -> Result<(), (&'static str, ExpectationProblem)> {
        if self.reason.trim().is_empty() {
            return Err(("reason", ExpectationProblem::NoReason));
        }
        // The class is one of lost requests: what fails otherwise has none, as an answer that is late or lacks a header, or a process that stays.
        let loses_requests = ["handoff/", "drain/"].iter().any(|area| self.check.starts_with(area))
            && !["handoff/answer-gap", "drain/close-announced", "drain/old-exits-idle"].contains(&self.check.as_str());
        if self.kind == ExpectationKind::MayFail && self.class.is_none() && loses_requests {
            return Err(("kind", ExpectationProblem::NoClass));
        }
        match &self.observed {
            Some(text) if count(text).is_none() => {
                Err(("observed", ExpectationProblem::BadCount { text: text.clone() }))
            }
            None if self.kind == ExpectationKind::MayFail => Err(("kind", ExpectationProblem::NoCount)),
            Some(_) | None => Ok(()),
        }
    }
}

/// "k of N" with k from 1 to N.
fn count(text: &str) -> Option<(u64, u64)> {
    let (seen, of) = text.split_once(" of ")?;
    let (seen, of) = (seen.parse::<u64>().ok()?, of.parse::<u64>().ok()?);
    (1..=of).contains(&seen).then_some((seen, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_some_of_many() {
        assert_eq!(count("3 of 20"), Some((3, 20)));
        for bad in ["", "3", "0 of 20", "21 of 20", "three of 20", "3 of 20 runs"] {
            assert_eq!(count(bad), None, "{bad}");
        }
    }
    #[test]
    fn by_chance_a_loss_of_requests_needs_its_class_and_nothing_else_does() {
        let says_enough = |check: &str| {
            let expectation = Expectation {
                check: check.to_owned(),
                kind: ExpectationKind::MayFail,
                class: None,
                scenarios: Vec::new(),
                reason: "a reason".to_owned(),
                upstream: None,
                observed: Some("1 of 2".to_owned()),
            };
            expectation.says_enough().is_ok()
        };
        assert!(!says_enough("handoff/no-refused"));
        assert!(!says_enough("drain/keepalive-race"));
        assert!(says_enough("drain/close-announced"));
        assert!(says_enough("trigger/storm"));
    }
}
