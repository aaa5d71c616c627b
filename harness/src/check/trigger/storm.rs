//! trigger/storm: many triggers at once bring one new generation in the end, and nothing is lost.

use crate::check::handoff::took_over;
use crate::check::loss::{WITHOUT_RACES, losses_of};
use crate::check::rest::rests;
use crate::check::{Check, Witness};
use crate::event::What;
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "trigger/storm",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "However often the restart is triggered at once, nothing is lost, and in the end one generation accepts.",
    source: "signal(7): equal signals coalesce while they are pending, so each one that arrives may be one of many",
    reports: &["hitch#285"],
    observed: "The manifest's signal is sent many times within the scenario's milliseconds, under 200 fresh connections per \
               second. At least one upgrade happens, no request is lost (races on kept connections apart, which are \
               drain/keepalive-race's), and at rest as many processes hold the listener as before. Triggers that are lost are \
               allowed.",
    needs: &[Witness::Upgrades, Witness::FreshLoad],
    observers: &["processes"],
    // Certain where every upgrade loses something; an accept queue that is rarely not empty is lost by chance.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let storms = history.find(|what| match what {
        What::Storm { upgrade, signals } => Some((*upgrade, *signals)),
        _ => None,
    });
    let upgrades = history.upgrades();
    let mut findings = Vec::new();
    for (event, (id, signals)) in storms {
        let Some(upgrade) = upgrades.iter().find(|upgrade| upgrade.id == id) else { continue };
        findings.push(took_over::one(history, upgrade).of(id));
        findings.extend(losses_of(history, upgrade, &WITHOUT_RACES));
        findings.push(one_generation(history, upgrade, event.seq, signals));
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("there was no storm"));
    }
    findings
}

fn one_generation(history: &History, upgrade: &Upgrade, seq: u64, signals: u32) -> Finding {
    let rests = rests(history);
    let before = rests.iter().rfind(|rest| rest.seq < upgrade.trigger_seq);
    let after = rests.iter().find(|rest| rest.seq > seq);
    let (Some(before), Some(after)) = (before, after) else {
        return Finding::inconclusive("the target was not seen at rest before and after").of(upgrade.id);
    };
    let text = format!(
        "{signals} triggers: {} processes hold the listener before, {} at rest after",
        before.holders(),
        after.holders()
    );
    let evidence = Evidence::text(text).event(before.seq).event(seq).event(after.seq);
    let same = before.holders() == after.holders();
    let finding = if same { Finding::pass(evidence) } else { Finding::fail(vec![evidence]) };
    finding.of(upgrade.id)
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::event::What;
    use crate::id::UpgradeId;
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn storm() -> Script {
        let script = Script::new().at_rest(900, 0, &[(1, 9), (5, 8)], &[]).trigger(1000, 1, 2);
        script.event(1020, What::Storm { upgrade: UpgradeId(1), signals: 20 }).request(answered(1100, 1101, 2))
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn one_generation_in_the_end_passes() {
        check(storm().at_rest(2000, 1, &[(1, 9), (6, 8)], &[]), Pass);
    }

    #[test]
    fn two_generations_that_go_on_accepting_fail() {
        check(storm().at_rest(2000, 1, &[(1, 9), (6, 8), (7, 8)], &[]), Fail);
    }

    #[test]
    fn a_request_lost_in_the_storm_fails() {
        let lost = failed(1010, 1011, FailureClass::Dropped);
        check(storm().request(lost).at_rest(2000, 1, &[(1, 9), (6, 8)], &[]), Fail);
    }

    #[test]
    fn without_a_storm_nothing_is_proven() {
        check(Script::new(), Inconclusive);
    }
}
