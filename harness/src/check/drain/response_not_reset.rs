//! drain/response-not-reset: no RST destroys a response that a slow reader is still reading.

use crate::check::loss::losses_each;
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::request::{Ending, Pattern, Request};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/response-not-reset",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A slow reader gets the last byte: no RST destroys a response.",
    source: "RFC 9112 §9.6; RFC 9293 §3.10.7.4",
    reports: &["uwsgi#1371"],
    observed: "Clients with a receive buffer of 16 KiB read an answer of 16 MiB or more slowly until the upgrade is done, and then the \
               rest: none meets ECONNRESET on the way. A RST makes the server's kernel drop what it had still to send.",
    needs: &[Witness::Upgrades, Witness::StreamUnread],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    losses_each(
        history,
        "streams",
        &|request, upgrade| request.pattern == Pattern::Reader && request.in_flight_at(upgrade.trigger.not_before),
        &was_reset,
    )
}

/// The errnos of a connection that was reset; EPIPE is what is left of one after a FIN.
fn was_reset(request: &Request) -> bool {
    match &request.ending {
        Ending::Answered { .. } => false,
        Ending::Failed { evidence, .. } => matches!(evidence.signal.as_str(), "ECONNRESET" | "EPIPE"),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern, Request};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(request: Request, want: Verdict) {
        let script = Script::new().trigger(1000, 1, 2).request(request.of(Pattern::Reader));
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_response_that_is_reset_fails() {
        check(failed(900, 1300, FailureClass::Truncated).by("ECONNRESET"), Fail);
    }

    #[test]
    fn a_response_that_ends_early_is_for_another_check() {
        check(failed(900, 1300, FailureClass::Truncated), Pass);
    }

    #[test]
    fn a_whole_response_passes() {
        check(answered(900, 1300, 1), Pass);
    }
}
