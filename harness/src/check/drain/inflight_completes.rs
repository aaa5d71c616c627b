//! drain/inflight-completes: a request being processed at the trigger is answered whole; so is every answer begun.

use crate::check::loss::{Loss, losses};
use crate::check::{Check, Witness};
use crate::clock::Nanos;
use crate::history::History;
use crate::manifest::Profile;
use crate::request::{FailureClass, Pattern, Request};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/inflight-completes",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A request that is being processed at the trigger is answered whole.",
    source: "RFC 9112 §8 (incomplete messages), §9.6",
    reports: &["puma#2337"],
    observed: "At least 10 slow requests in flight at the trigger: each gets its whole answer. And of all requests during \
               the upgrade, none is answered in part, with another's id, with 5xx, or never.",
    needs: &[Witness::Upgrades, Witness::RequestsInFlight],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let Some(met) = history.restart_met() else { return Vec::new() };
    losses(
        history,
        &Loss {
            what: "requests in flight",
            concerns: &|request| request.pattern != Pattern::Parked && request.sent.is_some(),
            lost: &|request| lost(request, met),
        },
    )
}

fn lost(request: &Request, met: Nanos) -> bool {
    match request.failure() {
        None => false,
        Some(FailureClass::Truncated | FailureClass::WrongAnswer | FailureClass::ServerError) => true,
        Some(FailureClass::UnsolicitedAnswer) => true,
        // Begun later, it may never have been accepted: that is for handoff/no-refused.
        Some(FailureClass::Dropped | FailureClass::ClosedBeforeFirstByte) => request.began < met,
        // On a reused connection a request without an answer is judged by the two keep-alive checks.
        Some(FailureClass::Hung) => request.nth_on_connection == 0,
        Some(
            FailureClass::HarnessFault
            | FailureClass::Refused
            | FailureClass::HandshakeReset
            | FailureClass::ConnectTimeout
            | FailureClass::IdleReset
            | FailureClass::StreamRefused
            | FailureClass::Tls
            | FailureClass::CloseFrame
            | FailureClass::NoCloseFrame
            | FailureClass::Lost
            | FailureClass::Crossed
            | FailureClass::Unread
            | FailureClass::Taken,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::check::path::tests as path;
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(class: Option<FailureClass>, want: Verdict) {
        let request = match class {
            Some(class) => failed(900, 1300, class),
            None => answered(900, 1300, 1),
        };
        let script = Script::new().trigger(1000, 1, 2).request(request.of(Pattern::Slow));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want);
    }

    #[test]
    fn a_request_cut_in_the_middle_fails() {
        check(Some(FailureClass::Truncated), Fail);
        check(Some(FailureClass::Dropped), Fail);
    }

    #[test]
    fn what_was_sent_while_packets_were_lost_was_not_in_flight_at_the_trigger() {
        assert_eq!((super::CHECK.decide)(&path::dropped_across_loss(985))[0].verdict, Fail);
        assert_eq!((super::CHECK.decide)(&path::dropped_across_loss(995))[0].verdict, Pass);
    }

    #[test]
    fn a_request_answered_after_the_trigger_passes() {
        check(None, Pass);
    }
}
