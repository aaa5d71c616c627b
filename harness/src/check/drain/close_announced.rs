//! drain/close-announced: the last answer on a connection says that it is the last.

use crate::check::drain::farewell::farewells;
use crate::check::{Check, Witness};
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Ground, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/close-announced",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "The last answer of the old generation on a connection announces the close.",
    source: "RFC 9112 §9.6: a server that intends to close a connection sends `Connection: close` in its last response",
    reports: &["ingress-nginx#8094"],
    observed: "Kept connections that send a request every few milliseconds: the last answer of the old generation on each carries \
               `Connection: close`. One that is silent for 500 ms before the load stops has ended, and one whose next request met \
               the close (`crossed`, `unread`); any other loss is judged by drain/keepalive-race and \
               drain/keepalive-swallowed alone.",
    needs: &[Witness::Upgrades, Witness::Announcements, Witness::Versions, Witness::BusyLoad],
    observers: &[],
    // Where all connections are cut at once, those that are in the middle of an exchange prove nothing.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    history.upgrades().iter().map(|upgrade| one(history, upgrade).of(upgrade.id)).collect()
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    let found = farewells(history, upgrade);
    let silent: Vec<u64> = found.ended.iter().filter(|it| !it.announced).map(|it| it.request.id).collect();
    let text = format!(
        "{} of {} busy connections of the old generation ended after an answer that did not announce it; {} did not end",
        silent.len(),
        found.ended.len(),
        found.open
    );
    let evidence = Evidence::text(text).event(upgrade.trigger_seq);
    if !silent.is_empty() {
        // One that was late with its next request is closed as idle.
        Finding::fail(vec![evidence.requests(silent)]).on(Ground::Patience)
    } else if found.ended.len() + found.open > 0 {
        Finding::pass(evidence)
    } else {
        Finding::inconclusive("the old generation had no busy connection at the trigger")
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::event::What;
    use crate::request::{Ending, FailureClass, Pattern, Request};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// An answer on a busy connection.
    fn busy(at: u64, version: u32, announced: bool) -> Request {
        let mut request = answered(at, at + 1, version).of(Pattern::Busy);
        if let Ending::Answered { close_announced, .. } = &mut request.ending {
            *close_announced = announced;
        }
        request
    }

    /// One connection for each of these, the trigger at 1000 ms, and the load stops at 3000 ms.
    fn check(requests: Vec<Request>, want: Verdict) {
        let script = Script::new().trigger(1000, 1, 2).event(3000, What::LoadStopped);
        let script = requests.into_iter().fold(script, Script::request);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_last_answer_that_announces_the_close_passes() {
        check(vec![busy(1200, 1, true), busy(2999, 2, false)], Pass);
    }

    #[test]
    fn a_last_answer_that_does_not_fails() {
        check(vec![busy(1200, 1, true), busy(1300, 1, false)], Fail);
    }

    #[test]
    fn a_connection_that_is_used_to_the_end_has_not_ended() {
        check(vec![busy(2900, 1, false)], Pass);
    }

    #[test]
    fn one_that_ends_with_the_trigger_was_not_announced_either() {
        check(vec![busy(900, 1, false), busy(1300, 2, false)], Fail);
    }

    #[test]
    fn a_close_that_meets_a_request_was_not_announced() {
        let met = |class, want| {
            let script = Script::new().trigger(1000, 1, 2).event(3000, What::LoadStopped);
            let next = failed(1200, 1201, class).of(Pattern::Busy);
            let mut history = script.request(busy(1100, 1, false)).request(next).history();
            history.requests[1].connection = history.requests[0].connection;
            assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
        };
        met(FailureClass::Unread, Fail);
        met(FailureClass::Hung, Inconclusive);
    }

    #[test]
    fn without_a_connection_of_the_old_generation_nothing_is_proven() {
        check(vec![busy(400, 1, false), busy(1300, 2, false)], Inconclusive);
    }
}
