//! rollback/reported: who has asked for an upgrade learns that it failed.

use crate::check::notice::notices;
use crate::check::rollback::exits::served_until;
use crate::check::{Check, Witness};
use crate::clock::Nanos;
use crate::event::What;
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/reported",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "Whoever has asked for an upgrade can learn whether it succeeded: from a command's exit status, or from STATUS=.",
    source: "sd_notify(3), STATUS=; an exit status of 0 means success (exit(3))",
    reports: &["puma#2465", "haproxy#3351"],
    observed: "Of an upgrade that must fail: where a command triggers it, that it ended with another status than 0; else the last \
               STATUS= that the target sent until the scenario's next step, and that it says something else, numbers apart, than after an \
               upgrade that succeeded.",
    needs: &[Witness::ReplyChannel],
    observers: &["notify"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let broken = history.broken_upgrades();
    let mut findings: Vec<Finding> =
        broken.iter().filter(|it| it.done.is_some()).map(|it| one(history, it).of(it.id)).collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no upgrade was triggered that had to fail"));
    }
    findings
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    if history.plan.target.is_triggered_by_command() {
        return by_exit_status(history, upgrade);
    }
    let ran = upgrade.done.map_or(upgrade.trigger.not_after, |ran| ran.not_after);
    let Some((seq, failed)) = status(history, upgrade, served_until(history, upgrade, ran)) else {
        let text = "the upgrade failed, and no STATUS= came after its trigger";
        return Finding::fail(vec![Evidence::text(text).event(upgrade.trigger_seq)]).on_time();
    };
    let good = history.upgrades();
    let Some((good_seq, succeeded)) =
        good.iter().filter(|it| it.done.is_some()).find_map(|it| status(history, it, it.window_end))
    else {
        return Finding::inconclusive("what it says of an upgrade that succeeds was not seen");
    };
    let text = format!("after the failed upgrade it says {failed:?}, after one that succeeded {succeeded:?}");
    let evidence = Evidence::text(text).event(seq).event(good_seq);
    if without_numbers(failed) == without_numbers(succeeded) {
        Finding::fail(vec![evidence])
    } else {
        Finding::pass(evidence)
    }
}

/// What the command that triggered it said by its end.
fn by_exit_status(history: &History, upgrade: &Upgrade) -> Finding {
    let of_upgrade =
        |seq: u64, at: crate::clock::Interval| seq >= upgrade.trigger_seq && at.not_before < upgrade.window_end;
    let mut failures = history.find(|what| match what {
        What::ActionFailed { action, reason } => Some((action, reason)),
        _ => None,
    });
    match failures.find(|(event, _)| of_upgrade(event.seq, event.at)) {
        Some((event, (action, reason))) => {
            let text = format!("{action}: {reason}");
            Finding::pass(Evidence::text(text).event(upgrade.trigger_seq).event(event.seq))
        }
        None => {
            let text = "the upgrade failed, and the command that triggered it ended with 0";
            Finding::fail(vec![Evidence::text(text).event(upgrade.trigger_seq)])
        }
    }
}

/// The last STATUS= since its trigger.
fn status<'a>(history: &'a History, upgrade: &Upgrade, until: Nanos) -> Option<(u64, &'a str)> {
    let of_upgrade = notices(history)
        .into_iter()
        .filter(|it| it.at.not_before >= upgrade.trigger.not_before && it.at.not_before < until);
    of_upgrade.filter_map(|it| Some((it.seq, it.value("STATUS")?))).next_back()
}

fn without_numbers(text: &str) -> String {
    text.chars().filter(|it| !it.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::id::UpgradeId;
    use crate::target::{TargetRestart, TargetRestartStep};
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// A failed upgrade at 1000 ms and a good one at 2000 ms, each followed by a status.
    fn told(failed: &str, succeeded: &str) -> Script {
        let script = Script::new().broken(1000, 1).broken_ran(1010, 1).notified(1020, Some(1), &["READY=1", failed]);
        let done = What::UpgradeDone { upgrade: UpgradeId(2), by: "version 2 answered".to_owned() };
        script.trigger(2000, 2, 2).event(2010, done).notified(2020, Some(1), &["READY=1", succeeded]).settled(2030, 2)
    }

    fn check(script: Script, want: Verdict) -> Finding {
        let finding = decide(&script.history()).remove(0);
        assert_eq!(finding.verdict, want, "{finding:#?}");
        finding
    }

    #[test]
    fn another_status_than_after_a_success_passes() {
        check(told("STATUS=upgrade failed, serving generation 1", "STATUS=serving generation 2"), Pass);
    }

    #[test]
    fn the_same_status_or_none_fails() {
        let same = check(told("STATUS=serving generation 1", "STATUS=serving generation 2"), Fail);
        assert_eq!(same.ground, Ground::Fact);
        let none = check(told("X=1", "STATUS=serving generation 2"), Fail);
        assert_eq!(none.ground, Ground::Time);
    }

    #[test]
    fn what_is_said_when_something_good_was_deployed_is_not_of_the_failure() {
        let script = Script::new().broken(1000, 1).broken_ran(1010, 1);
        let script = script.notified(1020, Some(1), &["STATUS=upgrade failed, serving generation 1"]);
        let next = What::StepBegan { index: 4, step: "upgrade".to_owned() };
        let script = script.event(1500, next).notified(1510, Some(1), &["STATUS=serving generation 2"]);
        let done = What::UpgradeDone { upgrade: UpgradeId(2), by: "version 2 answered".to_owned() };
        let script =
            script.trigger(2000, 2, 2).event(2010, done).notified(2020, Some(1), &["STATUS=serving generation 3"]);
        check(script.settled(2030, 2), Pass);
    }

    #[test]
    fn without_a_failure_or_a_success_nothing_is_proven() {
        check(told("STATUS=upgrade failed", "X=1"), Inconclusive);
        check(Script::new().broken(1000, 1), Inconclusive);
    }

    #[test]
    fn a_command_tells_by_its_exit_status() {
        let by_command = |script: Script| {
            let mut history = script.history();
            let restart: &mut TargetRestart = history.plan.target.restart.as_mut().expect("it restarts");
            restart.steps = vec![TargetRestartStep::Deploy, TargetRestartStep::Run(Vec::new())];
            decide(&history).remove(0).verdict
        };
        let broken = || Script::new().broken(1000, 1).broken_ran(1010, 1).trigger(2000, 2, 2);
        let failed = What::ActionFailed { action: "run x".to_owned(), reason: "ended with Code(1)".to_owned() };
        assert_eq!(by_command(broken().event(1020, failed.clone())), Pass);
        assert_eq!(by_command(broken()), Fail);
        assert_eq!(by_command(broken().event(2020, failed)), Fail, "it is of the next upgrade");
    }
}
