//! drain/first-request: a connection of before the trigger whose first request comes after it is answered.

use crate::check::drain::paused::{Paused, lost};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::request::{FailureClass, Pattern};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/first-request",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A connection made before the trigger whose first request comes after it is answered, or was closed before \
                  the first byte.",
    source: "RFC 9112 §9.3, §9.6",
    reports: &["puma, uvicorn: a fresh connection is closed like an idle one"],
    observed: "At least 8 connections that were open at the trigger and had sent nothing: the first request of each, 0.3 to \
               1.5 s after its handshake, is answered whole. One that was closed before its first byte lost nothing: that \
               is for drain/fresh-not-closed.",
    needs: &[Witness::Upgrades, Witness::SilentLoad],
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
            what: "first requests",
            pattern: Pattern::Silent,
            lost: &|class| {
                !matches!(class, FailureClass::HarnessFault | FailureClass::ClosedBeforeFirstByte)
                    && !class.is_connect_failure()
            },
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern, Request};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(request: Request, want: Verdict) {
        let request = request.of(Pattern::Silent).sent_at(1400);
        let script = Script::new().trigger(1000, 1, 2).request(request);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_first_request_that_is_read_and_not_answered_fails() {
        check(failed(900, 1401, FailureClass::Dropped), Fail);
    }

    #[test]
    fn a_connection_closed_before_the_first_byte_passes_here() {
        check(failed(900, 1001, FailureClass::ClosedBeforeFirstByte), Pass);
    }

    #[test]
    fn an_answered_first_request_passes() {
        check(answered(900, 1401, 1), Pass);
    }
}
