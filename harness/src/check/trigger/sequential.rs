//! trigger/sequential: upgrade after upgrade under load, and nothing is lost.

use crate::check::handoff::took_over;
use crate::check::loss::{WITHOUT_RACES, losses};
use crate::check::rest::rests;
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::scenario::Step;
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "trigger/sequential",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "Of many upgrades one after the other each takes over, nothing is lost, and one generation serves at the end.",
    source: "the meaning of a restart: the tenth one is no other than the first",
    reports: &["azhen#84"],
    observed: "The scenario's number of upgrades under 200 fresh connections per second, each until the generation before is \
               gone. Races on kept connections are drain/keepalive-race's. At rest after the last one as many \
               processes hold the listener as after the first.",
    needs: &[Witness::Upgrades, Witness::FreshLoad],
    observers: &["processes"],
    // Certain where every upgrade loses something; an accept queue that is rarely not empty is lost by chance.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let upgrades = history.upgrades();
    let planned = planned(history);
    let mut findings = losses(history, &WITHOUT_RACES);
    for upgrade in &upgrades {
        let finding = took_over::one(history, upgrade).of(upgrade.id);
        if finding.verdict != Verdict::Pass {
            findings.push(finding);
        } else if upgrade.settled.is_none() {
            let text = "the old generation was not gone by the drain deadline";
            let evidence = Evidence::text(text).event(upgrade.trigger_seq);
            findings.push(Finding::fail(vec![evidence]).on_time().of(upgrade.id));
        }
    }
    let settled = upgrades.iter().filter(|upgrade| upgrade.settled.is_some()).count();
    let text = format!("{settled} of {planned} upgrades were done");
    let all = settled >= planned;
    findings.push(if all { Finding::pass(text) } else { Finding::fail(vec![Evidence::text(text)]).on_time() });
    findings.push(one_generation(history));
    findings
}

fn planned(history: &History) -> usize {
    let count = |step: &Step| match step {
        Step::Sequential { upgrades } => usize::try_from(*upgrades).unwrap_or(usize::MAX),
        _ => 0,
    };
    history.plan.scenario.script().steps.iter().map(count).sum()
}

fn one_generation(history: &History) -> Finding {
    let rests = rests(history);
    let (Some(first), Some(last)) = (rests.first(), rests.last()) else {
        return Finding::inconclusive("the target was never seen at rest");
    };
    let text = format!(
        "{} processes hold the listener after upgrade {}, {} after upgrade {}",
        first.holders(),
        first.upgrade,
        last.holders(),
        last.upgrade
    );
    let evidence = Evidence::text(text).event(first.seq).event(last.seq);
    if first.holders() == last.holders() { Finding::pass(evidence) } else { Finding::fail(vec![evidence]) }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::FailureClass;
    use crate::scenario::{Scenario, Step};
    use crate::verdict::Verdict::{self, Fail, Pass};

    /// Two upgrades, at 1000 and 2000 ms, each answered, settled and at rest.
    fn two() -> Script {
        let script = Script::new().trigger(1000, 1, 2).request(answered(1100, 1101, 2)).settled(1200, 1);
        let script = script.at_rest(1300, 1, &[(1, 9), (5, 8)], &[]).trigger(2000, 2, 3);
        script.request(answered(2100, 2101, 3)).settled(2200, 2)
    }

    fn check(script: Script, planned: u32, want: Verdict) {
        let mut history = script.history();
        let mut written = history.plan.scenario.script().clone();
        written.steps = vec![Step::Sequential { upgrades: planned }];
        history.plan.scenario = Scenario(written);
        let findings = (super::CHECK.decide)(&history);
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn every_upgrade_that_takes_over_passes() {
        check(two().at_rest(2300, 2, &[(1, 9), (6, 8)], &[]), 2, Pass);
    }

    #[test]
    fn a_request_lost_in_the_second_upgrade_fails() {
        let lost = failed(2050, 2051, FailureClass::Refused);
        check(two().request(lost).at_rest(2300, 2, &[(1, 9), (6, 8)], &[]), 2, Fail);
    }

    #[test]
    fn an_upgrade_that_is_missing_fails() {
        check(two().at_rest(2300, 2, &[(1, 9), (6, 8)], &[]), 3, Fail);
    }

    #[test]
    fn two_generations_at_the_end_fail() {
        check(two().at_rest(2300, 2, &[(1, 9), (5, 8), (6, 8)], &[]), 2, Fail);
    }
}
