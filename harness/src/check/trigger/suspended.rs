//! What is owed while one side of an upgrade stands still: shared by the checks of either.

use crate::check::handoff::took_over;
use crate::check::lateness::dated;
use crate::check::loss::{WITHOUT_RACES, losses_of};
use crate::check::rollback::exits::served;
use crate::event::{Event, Side, Suspension, What};
use crate::history::{History, Upgrade};
use crate::request::{Pattern, Request};
use crate::verdict::{Evidence, Finding};

/// Every upgrade of which this side stood still.
pub(super) fn carried_on(history: &History, side: Side) -> Vec<Finding> {
    let upgrades = history.upgrades();
    let suspensions = history.find(|what| match what {
        What::SideSuspended(suspension) if suspension.side == side && !suspension.images.is_empty() => Some(suspension),
        _ => None,
    });
    let mut findings = Vec::new();
    for (begin, suspension) in suspensions {
        let Some(n) = upgrades.iter().position(|upgrade| upgrade.id == suspension.upgrade) else { continue };
        let end = history.events.iter().find(|event| match &event.what {
            What::SideContinued { upgrade } => *upgrade == suspension.upgrade,
            _ => false,
        });
        let Some(end) = end else { continue };
        let upgrade = &upgrades[n];
        findings.extend(losses_of(history, upgrade, &WITHOUT_RACES));
        findings.push(meanwhile(history, upgrade, suspension, (begin, end)).of(upgrade.id));
        findings.push(served(history, upgrade, "the process was continued", end.at.not_after));
        findings.push(match upgrades.get(n + 1) {
            Some(next) => took_over::one(history, next).of(next.id),
            None => Finding::inconclusive("no upgrade followed").of(upgrade.id),
        });
    }
    if findings.is_empty() {
        let text = format!("no process of the {} side lived to stand still", side.word());
        findings.push(Finding::inconclusive(text));
    }
    findings
}

/// New connections are served by the other side. Those that began so late that they may be answered after that prove nothing.
fn meanwhile(history: &History, upgrade: &Upgrade, suspension: &Suspension, (begin, end): (&Event, &Event)) -> Finding {
    let answer = history.plan.target.deadlines.answer;
    let (from, until) = (begin.at.not_after, end.at.not_before);
    let is_due = |it: &&Request| it.pattern == Pattern::Fresh && it.began >= from && it.began.plus(answer) < until;
    let due: Vec<&Request> = history.load().filter(is_due).collect();
    let late: Vec<&Request> = due.iter().copied().filter(|it| it.ended > it.began.plus(answer)).collect();
    let pids: Vec<String> = suspension.images.iter().map(|image| image.pid.to_string()).collect();
    let text = format!(
        "process {} of the {} side stood still from {from} until {until}; {} of {} fresh connections that were due before that \
         were answered within {} ms",
        pids.join(", "),
        suspension.side.word(),
        due.len() - late.len(),
        due.len(),
        answer.as_millis()
    );
    let evidence = Evidence::text(text).event(upgrade.trigger_seq).event(begin.seq).event(end.seq);
    if from.plus(answer) >= until {
        let text = format!(
            "its `answer_ms`, {} ms, is longer than that lasted: nobody had to be answered",
            answer.as_millis()
        );
        Finding::pass(text)
    } else if due.is_empty() || is_ready(history, upgrade, suspension, end) {
        Finding::inconclusive(evidence)
    } else if late.is_empty() {
        Finding::pass(evidence)
    } else {
        dated(Finding::fail(vec![evidence.requests(late.iter().map(|it| it.id))]), &late, answer)
    }
}

/// The new side has said that its initialisation is complete, before it stood still: then the old one may have made way.
fn is_ready(history: &History, upgrade: &Upgrade, suspension: &Suspension, end: &Event) -> bool {
    let Some(slow) = history.plan.target.slow_init.as_ref().filter(|_| suspension.side == Side::New) else {
        return false;
    };
    let mut said = history.find(|what| match what {
        What::Output { line, .. } if line.contains(&slow.output) => Some(()),
        _ => None,
    });
    said.any(|(event, ())| event.at.not_after > upgrade.trigger.not_before && event.at.not_before < end.at.not_before)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::script::{Script, answered, failed, image};
    use crate::id::UpgradeId;
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// This side stands still from 1010 until 3000 ms, while a client comes every 20 ms and is answered so much later; then every
    /// 4 ms, until the next upgrade at 4000 ms.
    fn suspended(side: Side, pids: &[i32], takes: u64) -> Script {
        let images = pids.iter().map(|pid| image(*pid)).collect();
        let script = Script::new()
            .trigger(1000, 1, 2)
            .event(1010, What::SideSuspended(Suspension { upgrade: UpgradeId(1), side, images }))
            .event(3000, What::SideContinued { upgrade: UpgradeId(1) });
        let script = (1020..2900).step_by(20).fold(script, |script, at| script.request(answered(at, at + takes, 1)));
        (3010..3990).step_by(4).fold(script, |script, at| script.request(answered(at, at + 1, 1)))
    }

    fn next(script: Script) -> Script {
        script.trigger(4000, 2, 3).request(answered(4100, 4101, 3))
    }

    fn check(side: Side, script: Script, want: Verdict) {
        let findings = carried_on(&script.history(), side);
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    /// What holds of either side.
    pub(in crate::check::trigger) fn either(side: Side) {
        let held = || suspended(side, &[5], 2);
        check(side, next(held()), Pass);
        check(side, next(suspended(side, &[5], 1500)), Fail);
        check(side, next(held().request(failed(1500, 1501, FailureClass::Refused))), Fail);
        check(side, next(held().request(failed(1500, 1501, FailureClass::Crossed))), Pass);
        // It was accepted by the one that stood still.
        check(side, next(held().request(answered(1005, 3005, 1))), Pass);
        check(side, held().trigger(4000, 2, 3).request(answered(4100, 4101, 1)), Fail);
        check(side, held(), Inconclusive);
        check(side, next(suspended(side, &[], 2)), Inconclusive);
    }
}
