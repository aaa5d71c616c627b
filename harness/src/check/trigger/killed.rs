//! What is owed when one side of an upgrade is killed: shared by the checks of either.

use std::collections::BTreeMap;

use crate::check::handoff::took_over;
use crate::check::loss::describe;
use crate::event::{Event, Killing, Side, What};
use crate::history::{History, Upgrade};
use crate::request::{FailureClass, Request};
use crate::verdict::{Evidence, Finding};

/// Every upgrade of which this side was killed.
pub(super) fn survived(history: &History, side: Side) -> Vec<Finding> {
    let upgrades = history.upgrades();
    let killings = history.find(|what| match what {
        What::Killed(killing) if killing.side == side && !killing.images.is_empty() => Some(killing),
        _ => None,
    });
    let mut findings = Vec::new();
    for (event, killing) in killings {
        let Some(n) = upgrades.iter().position(|upgrade| upgrade.id == killing.upgrade) else { continue };
        let late = too_late(history, &upgrades[n], event).or_else(|| gone_before(event, killing));
        if let Some(late) = late.filter(|_| side == Side::New) {
            findings.push(late.of(killing.upgrade));
            continue;
        }
        findings.extend(served(history, &upgrades[n], event, killing));
        findings.push(match upgrades.get(n + 1) {
            Some(next) => took_over::one(history, next).of(next.id),
            None => Finding::inconclusive("no upgrade followed").of(killing.upgrade),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive(format!("no process of the {} side lived to be killed", side.word())));
    }
    findings
}

/// The new version had answered by then: it was not killed in the middle of an upgrade, but after it.
fn too_late(history: &History, upgrade: &Upgrade, killed: &Event) -> Option<Finding> {
    let by_then = |request: &&Request| request.ended <= killed.at.not_before;
    let first = history.load().filter(by_then).find(|it| it.version() >= Some(upgrade.version))?;
    let text = format!("version {} had answered at {} when its process was killed", upgrade.version, first.ended);
    Some(Finding::inconclusive(Evidence::text(text).event(killed.seq).requests([first.id])))
}

/// The old side had given its listener up by then.
fn gone_before(killed: &Event, killing: &Killing) -> Option<Finding> {
    let text = "nobody of the old side held a listener any more when the new one was killed: it may have been ready, and in its place";
    (killing.old_listens == Some(false)).then(|| Finding::inconclusive(Evidence::text(text).event(killed.seq)))
}

/// The clients that came when the killed processes were gone: none can have been in their hands.
fn served(history: &History, upgrade: &Upgrade, event: &Event, killing: &Killing) -> Vec<Finding> {
    let (from, until) = (event.at.not_after, upgrade.window_end);
    let came: Vec<&Request> = history
        .load()
        .filter(|it| it.began >= from && it.began < until && it.failure() != Some(FailureClass::HarnessFault))
        .collect();
    let mut lost: BTreeMap<FailureClass, Vec<&Request>> = BTreeMap::new();
    for request in &came {
        // What the next upgrade has cut is its own; what hangs until then hung before.
        let own = |class: &FailureClass| request.ended <= until || class.rests_on_time();
        if let Some(class) = request.failure().filter(own) {
            lost.entry(class).or_default().push(request);
        }
    }
    let pids: Vec<String> = killing.images.iter().map(|image| image.pid.to_string()).collect();
    let answered = came.iter().filter(|it| it.failure().is_none() && it.ended <= until).count();
    let text = format!(
        "process {} of the {} side was killed by {from}; {answered} of {} requests that began later were answered until {until}",
        pids.join(", "),
        killing.side.word(),
        came.len()
    );
    let evidence = Evidence::text(text).event(upgrade.trigger_seq).event(event.seq);
    let mut findings = vec![match (came.len(), answered) {
        (0, _) => Finding::inconclusive(evidence),
        (_, 0) => Finding::fail(vec![evidence]).on_time(),
        _ => Finding::pass(evidence),
    }];
    for (class, requests) in lost {
        findings.push(Finding::fail(describe(class, &requests, came.len(), "requests", upgrade)).class(class));
    }
    findings.into_iter().map(|finding| finding.of(upgrade.id)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::script::{Script, answered, failed, image};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// This side is killed between 1010 and 1020 ms, and the next upgrade is triggered at 2000 ms.
    pub(in crate::check::trigger) fn killed(side: Side, pids: &[i32]) -> Script {
        let images = pids.iter().map(|pid| image(*pid)).collect();
        let what = What::Killed(Killing { upgrade: UpgradeId(1), side, images, old_listens: None });
        Script::new().trigger(1000, 1, 2).spanning(1010, 1020, what)
    }

    pub(in crate::check::trigger) fn next(script: Script) -> Script {
        script.trigger(2000, 2, 3).request(answered(2100, 2101, 3))
    }

    fn check(side: Side, script: Script, want: Verdict) {
        let findings = survived(&script.history(), side);
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    /// What holds of either side.
    pub(in crate::check::trigger) fn either(side: Side) {
        let served = || killed(side, &[5]).request(answered(1030, 1031, 1));
        check(side, next(served()), Pass);
        // What a killed process had in its hands is lost with it.
        check(side, next(served().request(failed(1005, 1015, FailureClass::Dropped))), Pass);
        check(side, next(served().request(failed(1500, 1501, FailureClass::Refused))), Fail);
        check(side, next(served().request(failed(1990, 2010, FailureClass::Dropped))), Pass);
        check(side, next(killed(side, &[5]).request(answered(1030, 2050, 3))), Fail);
        check(side, served().trigger(2000, 2, 3).request(answered(2100, 2101, 1)), Fail);
        check(side, served(), Inconclusive);
        check(side, next(killed(side, &[]).request(answered(1030, 1031, 1))), Inconclusive);
    }

    #[test]
    fn whoever_has_given_the_listener_up_is_not_to_be_killed_in_the_middle() {
        let given_up = |old_listens| {
            let mut history =
                next(killed(Side::New, &[5]).request(failed(1500, 1501, FailureClass::Refused))).history();
            let killing = history.events.iter_mut().find_map(|event| match &mut event.what {
                What::Killed(killing) => Some(killing),
                _ => None,
            });
            killing.expect("it is told").old_listens = old_listens;
            survived(&history, Side::New).iter().map(|finding| finding.verdict).max()
        };
        assert_eq!(given_up(Some(true)), Some(Fail));
        assert_eq!(given_up(Some(false)), Some(Inconclusive));
    }
}
