//! drain/old-exits-idle: an old generation with nothing in flight goes.

use crate::check::drain::deadline_kept::gone_in_time;
use crate::check::{Check, Witness};
use crate::event::What;
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/old-exits-idle",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "With nothing in flight the old generation is gone before the drain deadline.",
    source: "the meaning of a drain: it ends when there is nothing left to finish",
    reports: &["haproxy#155"],
    observed: "An upgrade without load and without a held connection. Every process that held the listener at the trigger (the \
               main process, where it outlives the upgrade, excepted) is gone within `deadlines.drain_ms` of the done event.",
    needs: &[Witness::Upgrades],
    observers: &[],
    // Who keeps count of his connections may lose one in a race.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let busy = history.find(|what| matches!(what, What::Held { .. } | What::LoadBegan { .. }).then_some(()));
    let busy_from = busy.map(|(event, ())| event.seq).min().unwrap_or(u64::MAX);
    let upgrades = history.upgrades();
    let mut findings: Vec<Finding> = upgrades
        .iter()
        .filter(|upgrade| upgrade.trigger_seq < busy_from)
        .map(|upgrade| gone_in_time(history, upgrade, "nothing is in flight"))
        .collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no upgrade was made with nothing in flight"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::What;
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn idle() -> Script {
        let done = What::UpgradeDone { upgrade: UpgradeId(1), by: "version 2 answered".to_owned() };
        Script::new().trigger(1000, 1, 2).event(1100, done)
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn an_old_generation_that_goes_at_once_passes() {
        check(idle().settled(1110, 1), Pass);
    }

    #[test]
    fn an_old_generation_that_stays_fails() {
        check(idle().event(2100, What::DeadlinePassed { name: "drain".to_owned(), length_ms: 1000 }), Fail);
    }

    #[test]
    fn under_load_nothing_is_proven() {
        check(
            Script::new().event(1, What::LoadBegan { patterns: vec![] }).trigger(1000, 1, 2).settled(1900, 1),
            Inconclusive,
        );
    }
}
