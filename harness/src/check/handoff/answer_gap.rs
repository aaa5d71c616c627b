//! handoff/answer-gap: no fast request waits longer than declared for its answer during an upgrade.

use crate::check::loss::touched;
use crate::check::{Check, Witness};
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::request::{FailureClass, Pattern, Request};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/answer-gap",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "During an upgrade no fast request waits longer than declared for its answer.",
    source: "the manifest's `deadlines.answer_ms`, 1000 when it does not say",
    reports: &["apache, lighttpd, puma, uwsgi: 1.0 to 3.5 s"],
    observed: "At least 200 fresh connections per second through the upgrade: the longest time from connect(2) to the last \
               byte of the answer stays within the declared maximum. A request that was never answered counts until it was \
               given up.",
    needs: &[Witness::Upgrades, Witness::FreshLoad],
    observers: &[],
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    history.upgrades().iter().map(|upgrade| one(history, upgrade).of(upgrade.id)).collect()
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    let most = history.plan.target.deadlines.answer;
    let waited = |request: &Request| request.ended.since(request.began);
    let longest = touched(history, upgrade)
        .filter(|request| request.pattern == Pattern::Fresh)
        // Connects that were refused or reset waited for nothing; other checks judge them.
        .filter(|it| matches!(it.failure(), None | Some(FailureClass::Hung | FailureClass::ConnectTimeout)))
        .max_by_key(|request| waited(request));
    let Some(longest) = longest else {
        return Finding::inconclusive("no fast request was answered");
    };
    let took = waited(longest);
    let text = format!(
        "the longest answer took {:.1} ms, from {} to {} (declared maximum {} ms)",
        took.as_secs_f64() * 1e3,
        longest.began,
        longest.ended,
        most.as_millis()
    );
    let evidence = Evidence::text(text).requests([longest.id]);
    if took <= most {
        return Finding::pass(evidence);
    }
    let slow = touched(history, upgrade).filter(|it| it.pattern == Pattern::Fresh && waited(it) > most).count();
    let count = format!("{slow} requests took longer than that maximum");
    Finding::fail(vec![evidence, Evidence::text(count).event(upgrade.trigger_seq)]).late_by(took - most)
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern, Request};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(request: Request, want: Verdict) {
        let script = Script::new().trigger(1000, 1, 2).request(request);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn an_answer_within_the_declared_maximum_passes() {
        check(answered(1001, 2001, 2), Pass);
    }

    #[test]
    fn an_answer_after_it_fails() {
        check(answered(1001, 2002, 2), Fail);
    }

    #[test]
    fn a_request_that_is_never_answered_fails() {
        check(failed(1001, 2101, FailureClass::Hung), Fail);
    }

    #[test]
    fn a_slow_request_is_not_judged() {
        check(answered(1001, 2101, 2).of(Pattern::Slow), Inconclusive);
    }
}
