//! rollback/not-sticky: a good upgrade after a bad one works.

use crate::check::Check;
use crate::check::handoff::took_over;
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/not-sticky",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::ExecSelf),
    requirement: "A good upgrade after a bad one works.",
    source: "the meaning of a rollback: the state before it",
    reports: &["haproxy#1883"],
    observed: "After an upgrade to a broken executable a good one is deployed and triggered: an answer carries its \
               version (or, where answers carry none, a process that appeared after the trigger holds the listener).",
    needs: &[],
    observers: &["processes"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let upgrades = history.upgrades();
    let mut findings = Vec::new();
    for broken in history.broken_upgrades() {
        let next = upgrades.iter().find(|upgrade| upgrade.trigger_seq > broken.trigger_seq);
        findings.push(match next {
            None => Finding::inconclusive("no upgrade followed the broken one").of(broken.id),
            Some(_) if broken.done.is_none() => Finding::inconclusive("the broken executable never ran").of(broken.id),
            Some(next) => took_over::one(history, next).of(next.id),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no upgrade to a broken executable was triggered"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    fn broken() -> Script {
        Script::new().broken(1000, 1).broken_ran(1005, 1)
    }

    #[test]
    fn the_next_version_that_answers_passes() {
        check(broken().trigger(2000, 2, 2).request(answered(2100, 2101, 2)), Pass);
    }

    #[test]
    fn an_old_version_for_ever_fails() {
        check(broken().trigger(2000, 2, 2).request(answered(2100, 2101, 1)), Fail);
    }

    #[test]
    fn without_a_next_upgrade_nothing_is_proven() {
        check(broken(), Inconclusive);
    }

    #[test]
    fn without_the_mark_of_the_broken_one_nothing_is_proven() {
        check(Script::new().broken(1000, 1).trigger(2000, 2, 2).request(answered(2100, 2101, 2)), Inconclusive);
    }
}
