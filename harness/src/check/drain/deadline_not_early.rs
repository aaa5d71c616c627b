//! drain/deadline-not-early: old connections have the time that they are promised.

use crate::check::drain::held::changes;
use crate::check::{Check, Witness};
use crate::clock::{Interval, Nanos};
use crate::event::HeldChange;
use crate::history::{History, Upgrade};
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/deadline-not-early",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::DrainDeadline),
    requirement: "No old connection with a request on it is cut before the time that it is promised is over.",
    source: "nginx worker_shutdown_timeout; gunicorn graceful_timeout",
    reports: &["ray#63996"],
    observed: "Connections that have sent half a request are accepted before the trigger, and looked at from the done event on until \
               they have ended. None had ended when `deadlines.drain_least_ms` were over, counted from the trigger: the target \
               counts from later on. One that ended between two looks of which the first was before that instant and the second \
               after it proves nothing.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let upgrades = history.upgrades();
    let findings: Vec<Finding> = upgrades.iter().flat_map(|upgrade| of_one(history, upgrade)).collect();
    if findings.is_empty() {
        vec![Finding::inconclusive("no held connection was watched through an upgrade")]
    } else {
        findings
    }
}

/// A finding for each connection that was held through this upgrade to its end, or to that of the watch.
fn of_one(history: &History, upgrade: &Upgrade) -> Vec<Finding> {
    let least = history.plan.target.deadlines.drain_least.unwrap_or_default();
    let promised = upgrade.trigger.not_before.plus(least);
    let since = |at: Nanos| at.since(upgrade.trigger.not_before).as_millis();
    let judge = |seq: u64, at: Interval, connection: u32, change: &HeldChange| {
        let evidence = |text: String| Evidence::text(text).event(upgrade.trigger_seq).event(seq);
        let end = match change {
            HeldChange::Ended(end) => *end,
            HeldChange::Open => return Some(Finding::pass(evidence(format!("connection {connection} was never cut")))),
            HeldChange::Completed | HeldChange::Answered(_) => return None,
        };
        let (words, least) = (end.words(), least.as_millis());
        Some(if at.not_after < promised {
            let text = format!(
                "connection {connection} {words} at the latest {} ms after the trigger; {least} ms are promised",
                since(at.not_after)
            );
            Finding::fail(vec![evidence(text)])
        } else if at.not_before < promised {
            let (first, last) = (since(at.not_before), since(at.not_after));
            let text = format!("connection {connection} {words} between {first} and {last} ms after the trigger");
            Finding::inconclusive(evidence(text))
        } else {
            let text = format!("connection {connection} was open {} ms after the trigger", since(at.not_before));
            Finding::pass(evidence(text))
        })
    };
    let findings =
        changes(history, upgrade).filter_map(|(event, number, change)| judge(event.seq, event.at, number, change));
    findings.map(|finding| finding.of(upgrade.id)).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{HeldChange, HeldEnd, What};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// A connection that is cut after an upgrade that was triggered at 1000 ms; 500 ms are promised.
    fn check(last_open: u64, seen_ended: u64, want: Verdict) {
        let change = HeldChange::Ended(HeldEnd::Closed);
        let what = What::HeldConnection { upgrade: UpgradeId(1), connection: 1, change };
        let script = Script::new().trigger(1000, 1, 2).spanning(last_open, seen_ended, what);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_connection_that_is_open_when_the_time_is_over_passes() {
        check(1501, 1502, Pass);
    }

    #[test]
    fn one_that_is_cut_before_fails() {
        check(1250, 1251, Fail);
    }

    #[test]
    fn a_look_too_late_proves_nothing() {
        check(1490, 1510, Inconclusive);
        let history = Script::new().trigger(1000, 1, 2).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Inconclusive);
    }

    #[test]
    fn one_that_is_never_cut_passes() {
        let what = What::HeldConnection { upgrade: UpgradeId(1), connection: 1, change: HeldChange::Open };
        let history = Script::new().trigger(1000, 1, 2).event(3000, what).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Pass);
    }
}
