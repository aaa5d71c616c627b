//! Verdicts, levels, findings and evidence: the words in which a judgement is told.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Interval;
use crate::id::UpgradeId;
use crate::request::FailureClass;

/// What a check says of a run, after TTCN-3; the order is "worst wins".
///
/// A broken observer ([`Verdict::Error`]) must not erase a proven failure, so `fail` is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The requirement holds, with the evidence that it needed.
    Pass,
    /// The run did not give the evidence (no request was in flight at the trigger).
    Inconclusive,
    /// Harness or environment broke; says nothing of the target.
    Error,
    /// The requirement is broken, with evidence.
    Fail,
}

impl Verdict {
    /// The worse of two.
    ///
    /// # Examples
    /// ```
    /// use unbroken::verdict::Verdict;
    ///
    /// // A broken observer does not erase a proven failure, and a missing witness takes a pass away.
    /// assert_eq!(Verdict::Error.worst(Verdict::Fail), Verdict::Fail);
    /// assert_eq!(Verdict::Pass.worst(Verdict::Inconclusive), Verdict::Inconclusive);
    /// ```
    #[must_use]
    pub fn worst(self, other: Verdict) -> Verdict {
        self.max(other)
    }

    /// The word as it stands in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Error => "error",
            Verdict::Fail => "fail",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How much a requirement binds (RFC 2119 words). A failed SHOULD is a warning; `--strict` makes it a MUST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Measured, never fails.
    Info,
    /// Recommended: a failure is a warning.
    Should,
    /// Required.
    Must,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Info => "INFO",
            Level::Should => "SHOULD",
            Level::Must => "MUST",
        })
    }
}

/// One line that a person can verify by hand, and where it stands in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The observation in words, with its times.
    pub text: String,
    /// Sequence numbers of the events it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<u64>,
    /// Ids of the requests it rests on (the first few when there are many).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<u64>,
}

impl Evidence {
    /// Evidence in words alone.
    pub fn text(text: impl Into<String>) -> Evidence {
        Evidence { text: text.into(), events: Vec::new(), requests: Vec::new() }
    }

    /// The same with the event it rests on.
    #[must_use]
    pub fn event(mut self, seq: u64) -> Evidence {
        self.events.push(seq);
        self
    }

    /// The same with the first few of the requests it rests on.
    #[must_use]
    pub fn requests(mut self, ids: impl IntoIterator<Item = u64>) -> Evidence {
        self.requests.extend(ids.into_iter().take(8));
        self
    }
}

impl From<String> for Evidence {
    fn from(text: String) -> Evidence {
        Evidence::text(text)
    }
}

impl From<&str> for Evidence {
    fn from(text: &str) -> Evidence {
        Evidence::text(text)
    }
}

/// What a fail rests on: decides whether a noisy machine can take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// An errno, an EOF, wrong bytes, a listener's identity, an exit status: no noise excuses it.
    Fact,
    /// A duration: a late harness or canary makes it inconclusive, and a target that lacked a processor.
    Time,
    /// The server's patience with a silent client: a late harness or canary makes it inconclusive. A server that lacks a
    /// processor loses patience later, never sooner.
    Patience,
}

/// One verdict of one check with its evidence; `merge` keeps the worst and all stay in the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub ground: Ground,
    /// The upgrade it concerns, where it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeId>,
    /// The failure class of the requests behind it, where requests are behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// By how many milliseconds too late, where that can be told: no shorter lack of a processor excuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_by_ms: Option<u64>,
    /// When that was, where it can be told: what was lacking at another time excuses nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_within: Option<Interval>,
    /// It was a fail, or a pass, and is inconclusive for the machine's sake: that stood still, or the target lacked a processor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excused: bool,
    /// Lines that a person can verify.
    pub evidence: Vec<Evidence>,
}

impl Finding {
    /// A finding on facts, without upgrade or class.
    #[must_use]
    pub fn new(verdict: Verdict, evidence: Vec<Evidence>) -> Finding {
        Finding {
            verdict,
            ground: Ground::Fact,
            upgrade: None,
            class: None,
            late_by_ms: None,
            late_within: None,
            excused: false,
            evidence,
        }
    }

    /// The requirement holds.
    pub fn pass(evidence: impl Into<Evidence>) -> Finding {
        Finding::new(Verdict::Pass, vec![evidence.into()])
    }

    /// The run did not give the evidence.
    pub fn inconclusive(evidence: impl Into<Evidence>) -> Finding {
        Finding::new(Verdict::Inconclusive, vec![evidence.into()])
    }

    /// Harness or environment broke.
    pub fn error(evidence: impl Into<Evidence>) -> Finding {
        Finding::new(Verdict::Error, vec![evidence.into()])
    }

    /// The requirement is broken.
    #[must_use]
    pub fn fail(evidence: Vec<Evidence>) -> Finding {
        Finding::new(Verdict::Fail, evidence)
    }

    /// It is inconclusive, and would be on any machine.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.verdict == Verdict::Inconclusive && !self.excused
    }

    /// The same, about one upgrade.
    #[must_use]
    pub fn of(mut self, upgrade: UpgradeId) -> Finding {
        self.upgrade = Some(upgrade);
        self
    }

    /// The same, with the class of the requests behind it, and resting on what that class rests on.
    #[must_use]
    pub fn class(mut self, class: FailureClass) -> Finding {
        self.class = Some(class);
        self.on(if class.rests_on_patience() {
            Ground::Patience
        } else if class.rests_on_time() {
            Ground::Time
        } else {
            Ground::Fact
        })
    }

    /// The same, resting on a duration.
    #[must_use]
    pub fn on_time(self) -> Finding {
        self.on(Ground::Time)
    }

    /// The same, resting on a duration that was longer by this than it may be: only a lack of as much excuses it.
    #[must_use]
    pub fn late_by(mut self, late_by: Duration) -> Finding {
        self.late_by_ms = u64::try_from(late_by.as_millis()).ok();
        self.on_time()
    }

    /// The same, and the time in which it was late.
    #[must_use]
    pub fn late_within(mut self, late_by: Duration, within: Interval) -> Finding {
        self.late_within = Some(within);
        self.late_by(late_by)
    }

    /// The same, resting on this.
    #[must_use]
    pub fn on(mut self, ground: Ground) -> Finding {
        self.ground = ground;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_observer_does_not_erase_a_proven_failure() {
        assert_eq!(Verdict::Error.worst(Verdict::Fail), Verdict::Fail);
        assert_eq!(Verdict::Pass.worst(Verdict::Inconclusive), Verdict::Inconclusive);
    }
}
