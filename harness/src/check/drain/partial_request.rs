//! drain/partial-request: a request half sent before the trigger completes after it.

use crate::check::drain::paused::{Paused, lost};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::request::{FailureClass, Pattern};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/partial-request",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A request half sent before the trigger completes after it.",
    source: "RFC 9112 §2.2, §9.6",
    reports: &["uvicorn", "haproxy -st"],
    observed: "At least 6 connections that sent half a request head, or half a line, before the trigger and the rest 0.3 to 1.5 s \
               after that half: each request is answered whole.",
    needs: &[Witness::Upgrades, Witness::HalfLoad],
    observers: &[],
    // Certain where every upgrade loses something; an accept queue that is rarely not empty is lost by chance.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    lost(
        history,
        &Paused {
            what: "half-sent requests",
            pattern: Pattern::Half,
            lost: &|class| class != FailureClass::HarnessFault && !class.is_connect_failure(),
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern, Request};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(request: Request, want: Verdict) {
        let request = request.of(Pattern::Half).sent_at(1400);
        let script = Script::new().trigger(1000, 1, 2).request(request);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_half_head_that_is_cut_fails() {
        check(failed(900, 1001, FailureClass::Dropped), Fail);
    }

    #[test]
    fn a_half_head_that_is_answered_with_a_timeout_fails() {
        check(failed(900, 1001, FailureClass::UnsolicitedAnswer), Fail);
    }

    #[test]
    fn a_half_head_that_is_completed_and_answered_passes() {
        check(answered(900, 1401, 1), Pass);
    }

    #[test]
    fn a_half_head_of_after_the_trigger_is_not_judged() {
        check(failed(1100, 1401, FailureClass::Dropped), Pass);
    }
}
