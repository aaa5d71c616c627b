//! handoff/no-refused: no connect during an upgrade is refused, reset, timed out, or dropped before its answer.

use crate::check::loss::{Loss, losses};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::request::Pattern;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/no-refused",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A client that connects during an upgrade is never refused.",
    source: "listen(2); nginx \"Upgrading Executable on the Fly\"",
    reports: &["iodine#97", "overseer#34"],
    observed: "At least 200 fresh connections per second through the upgrade: none ends in ECONNREFUSED, a reset during \
               the handshake, no handshake within its deadline, or (the handshake done by the kernel, the connection \
               perhaps never accepted) a reset or EOF without one byte of answer. A connect that the path between the two \
               rejected (step `upgrade-across`) accuses nobody.",
    needs: &[Witness::Upgrades, Witness::FreshLoad],
    observers: &[],
    // Certain where every upgrade loses something; an accept queue that is rarely not empty is lost by chance.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let Some(met) = history.restart_met() else { return Vec::new() };
    losses(
        history,
        &Loss {
            what: "connects",
            concerns: &|request| request.nth_on_connection == 0 && request.pattern != Pattern::Parked,
            lost: &|request| match request.failure() {
                // In flight already when the restart was met: that is for drain/inflight-completes.
                Some(class) => class.is_connect_failure() || (class.is_drop() && request.began >= met),
                None => false,
            },
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::check::path::tests as path;
    use crate::check::script::{Script, answered, failed};
    use crate::event::{PathFault, PathMet};
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{Fail, Pass};

    #[test]
    fn refused_connection_during_handoff_fails() {
        let script = Script::new().trigger(1000, 1, 2).request(failed(1001, 1002, FailureClass::Refused));
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, Fail);
        assert_eq!(findings[0].class, Some(FailureClass::Refused));
    }

    #[test]
    fn a_connection_dropped_in_the_accept_queue_fails() {
        let script = Script::new().trigger(1000, 1, 2).request(failed(1001, 1002, FailureClass::Dropped));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Fail);
    }

    #[test]
    fn answered_connections_pass() {
        let script = Script::new().trigger(1000, 1, 2).request(answered(1001, 1002, 2));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Pass);
    }

    #[test]
    fn what_the_path_rejected_accuses_nobody_and_what_was_refused_later_does() {
        let across =
            |script: Script| path::across(script, 990, PathFault::Reject, PathMet::Rejected { connects: 1 }, 1300);
        let run = |at: u64| across(Script::new()).request(failed(at, at + 1, FailureClass::Refused)).history();
        assert_eq!((super::CHECK.decide)(&run(1100))[0].verdict, Pass);
        assert_eq!((super::CHECK.decide)(&run(1400))[0].verdict, Fail);
    }

    #[test]
    fn a_connection_that_was_begun_while_packets_were_lost_is_one_of_the_upgrade() {
        assert_eq!((super::CHECK.decide)(&path::dropped_across_loss(985))[0].verdict, Pass);
        assert_eq!((super::CHECK.decide)(&path::dropped_across_loss(995))[0].verdict, Fail);
    }

    #[test]
    fn a_refusal_before_the_trigger_belongs_to_the_baseline() {
        let script = Script::new().request(failed(1, 2, FailureClass::Refused)).trigger(1000, 1, 2);
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Pass);
    }
}
