//! drain/fresh-not-closed: a connection that has not yet sent anything is not closed by the restart.

use crate::check::drain::paused::{Paused, lost};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::request::{FailureClass, Pattern};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/fresh-not-closed",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A fresh connection that has not yet sent anything is not closed by the restart.",
    source: "RFC 9112 §9.6",
    reports: &["puma", "uvicorn", "granian"],
    observed: "At least 8 connections that were open at the trigger and had sent nothing: none of them gets a FIN before \
               its first byte. Its client has just connected and is about to send: the close may cross the request.",
    needs: &[Witness::Upgrades, Witness::SilentLoad],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    lost(
        history,
        &Paused {
            what: "silent connections",
            pattern: Pattern::Silent,
            lost: &|class| class == FailureClass::ClosedBeforeFirstByte,
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
    fn a_silent_connection_that_is_closed_fails() {
        check(failed(900, 1001, FailureClass::ClosedBeforeFirstByte), Fail);
    }

    #[test]
    fn a_request_that_was_sent_is_for_another_check() {
        check(failed(900, 1401, FailureClass::Dropped), Pass);
    }

    #[test]
    fn a_silent_connection_that_is_answered_passes() {
        check(answered(900, 1401, 1), Pass);
    }
}
