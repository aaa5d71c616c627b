//! drain/deadline-kept: the old generation is gone by its deadline, whoever still holds on to it.

use crate::check::{Check, Witness};
use crate::event::What;
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/deadline-kept",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "The old generation is gone by the declared drain deadline, even with a connection that never ends.",
    source: "nginx worker_shutdown_timeout; haproxy hard-stop-after",
    reports: &["haproxy#228"],
    observed: "Connections that have sent half a request and never the rest are accepted before the trigger. Every process that \
               held the listener at the trigger (the main process, where it outlives the upgrade, excepted) is gone within \
               `deadlines.drain_ms` of the done event.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let held = history.find(|what| match what {
        What::Held { connections } if *connections > 0 => Some(*connections),
        _ => None,
    });
    let upgrades = history.upgrades();
    let mut findings = Vec::new();
    for (event, connections) in held {
        if let Some(upgrade) = upgrades.iter().find(|upgrade| upgrade.trigger_seq > event.seq) {
            findings.push(gone_in_time(history, upgrade, &format!("{connections} connections never end")));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no connection was held open through an upgrade"));
    }
    findings
}

/// Whether the old generation of this upgrade was gone by the drain deadline.
pub(super) fn gone_in_time(history: &History, upgrade: &Upgrade, with: &str) -> Finding {
    let deadline = history.plan.target.deadlines.drain.as_millis();
    let late = history.find(|what| match what {
        What::DeadlinePassed { name, .. } if name == "drain" => Some(()),
        _ => None,
    });
    let in_window = |seq: u64, at: crate::clock::Nanos| seq > upgrade.trigger_seq && at <= upgrade.window_end;
    let late = late.filter(|(event, ())| in_window(event.seq, event.at.not_before)).map(|(event, ())| event.seq).next();
    match (upgrade.done.zip(upgrade.settled), late) {
        (_, Some(seq)) => {
            let text = format!("{with}, and the old generation still lived {deadline} ms after the upgrade was done");
            Finding::fail(vec![Evidence::text(text).event(upgrade.trigger_seq).event(seq)]).on_time()
        }
        (Some((done, settled)), None) => {
            let took = settled.not_after.since(done.not_after).as_millis();
            let text = format!(
                "{with}; the old generation was gone {took} ms after the upgrade was done ({deadline} allowed)"
            );
            Finding::pass(Evidence::text(text).event(upgrade.trigger_seq))
        }
        (None, None) => Finding::inconclusive("the upgrade was not done, so nothing had to go"),
    }
    .of(upgrade.id)
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::What;
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn held() -> Script {
        let done = What::UpgradeDone { upgrade: UpgradeId(1), by: "version 2 answered".to_owned() };
        Script::new().event(900, What::Held { connections: 4 }).trigger(1000, 1, 2).event(1100, done)
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn an_old_generation_that_cuts_the_held_connections_passes() {
        check(held().settled(1900, 1), Pass);
    }

    #[test]
    fn an_old_generation_that_waits_for_them_for_ever_fails() {
        check(held().event(2100, What::DeadlinePassed { name: "drain".to_owned(), length_ms: 1000 }), Fail);
    }

    #[test]
    fn without_a_held_connection_nothing_is_proven() {
        check(Script::new().trigger(1000, 1, 2).settled(1900, 1), Inconclusive);
    }
}
