//! trigger/during-drain: a second upgrade while the old generation of the first one still drains.

use crate::check::handoff::took_over;
use crate::check::loss::{WITHOUT_RACES, losses_of};
use crate::check::{Check, Witness};
use crate::event::{ProcessChange, What};
use crate::history::{History, Upgrade};
use crate::id::Image;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "trigger/during-drain",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A second upgrade while a generation still drains works or is refused without a loss, and later ones work.",
    source: "the meaning of a drain: it may take as long as a client likes, and nobody waits for it with the next version",
    reports: &["tableflip", "synapse-tools#56"],
    observed: "Connections that have sent half a request are accepted before the first trigger, and kept: the generation that has \
               them drains. The second trigger follows on the done event of the first one, under 200 fresh connections per \
               second, while a process that held the listener before the first trigger still lives (the main process, where \
               it outlives the upgrades, excepted). No request is lost (races on kept connections apart), and the next upgrade \
               after it takes over.",
    needs: &[Witness::Upgrades, Witness::FreshLoad],
    observers: &["processes"],
    // A target loses by chance in this upgrade what it may lose in any.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let held = history.find(|what| match what {
        What::Held { connections } if *connections > 0 => Some(*connections),
        _ => None,
    });
    let held_from = held.map(|(event, _)| event.seq).min().unwrap_or(u64::MAX);
    let upgrades = history.upgrades();
    let mut findings = Vec::new();
    for (n, pair) in upgrades.windows(2).enumerate() {
        let [first, second] = pair else { continue };
        let settled = first.settled.is_some_and(|at| at.not_after <= second.trigger.not_before);
        if first.trigger_seq < held_from || first.done.is_none() || settled {
            continue;
        }
        let Some(draining) = draining(history, first, second) else { continue };
        findings.extend(losses_of(history, second, &WITHOUT_RACES));
        findings.extend(outcome(history, second, upgrades.get(n + 2), &draining));
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no upgrade was triggered while a generation drained"));
    }
    findings
}

/// Who of the first upgrade's old generation still lived at the second trigger, in words; `None` when nobody did. One that
/// reloads within its main process has no other: its connections say that it drains.
fn draining(history: &History, first: &Upgrade, second: &Upgrade) -> Option<String> {
    let mains: Vec<Image> = history
        .find(|what| if let What::Main { image } = what { Some(*image) } else { None })
        .map(|(_, image)| image)
        .collect();
    let holders = history.find(|what| if let What::Holders { images, .. } = what { Some(images) } else { None });
    let before = holders.filter(|(event, _)| event.at.not_after <= first.trigger.not_before).last();
    let old: Vec<Image> =
        before.map(|(_, images)| images.iter().copied().filter(|it| !mains.contains(it)).collect()).unwrap_or_default();
    if old.is_empty() {
        return Some("the connections that never end".to_owned());
    }
    let gone = |image: &Image| {
        history.events.iter().any(|event| {
            let ends = matches!(&event.what, What::Process { image: it, change: ProcessChange::Gone } if it == image);
            ends && event.at.not_before <= second.trigger.not_before
        })
    };
    let alive: Vec<String> =
        old.iter().filter(|image| !gone(image)).map(|image| format!("process {}", image.pid)).collect();
    (!alive.is_empty()).then(|| alive.join(", "))
}

/// Whether the second upgrade came about, and whether the next one does.
fn outcome(history: &History, second: &Upgrade, next: Option<&Upgrade>, draining: &str) -> Vec<Finding> {
    let worked = took_over::one(history, second).verdict == Verdict::Pass;
    let word = if worked { "took over" } else { "was refused" };
    let text = format!("upgrade {} {word} while {draining} drained", second.id);
    let told = Finding::pass(Evidence::text(text).event(second.trigger_seq)).of(second.id);
    let later = match next {
        Some(next) => took_over::one(history, next).of(next.id),
        None => Finding::inconclusive("no upgrade followed").of(second.id),
    };
    vec![told, later]
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed, image};
    use crate::event::{ProcessChange, What};
    use crate::id::UpgradeId;
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// Process 1 is the main one, process 5 drains from 1100 ms on, and the second trigger comes at 1200 ms.
    fn draining() -> Script {
        let done = What::UpgradeDone { upgrade: UpgradeId(1), by: "version 2 answered".to_owned() };
        let script = Script::new().main(100, 1).holders(200, &[1, 5]).event(900, What::Held { connections: 4 });
        script.trigger(1000, 1, 2).event(1100, done).trigger(1200, 2, 3)
    }

    fn next(script: Script, version: u32) -> Script {
        script.trigger(2000, 3, 4).request(answered(2100, 2101, version))
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn a_second_upgrade_that_takes_over_passes() {
        check(next(draining().request(answered(1300, 1301, 3)), 4), Pass);
    }

    #[test]
    fn one_that_is_refused_without_a_loss_passes_where_the_next_one_works() {
        check(next(draining().request(answered(1300, 1301, 2)), 4), Pass);
        check(next(draining().request(answered(1300, 1301, 2)), 2), Fail);
    }

    #[test]
    fn a_request_that_is_lost_fails() {
        let lost = failed(1250, 1251, FailureClass::Refused);
        check(next(draining().request(answered(1300, 1301, 3)).request(lost), 4), Fail);
    }

    #[test]
    fn without_a_generation_that_drains_nothing_is_proven() {
        let gone = What::Process { image: image(5), change: ProcessChange::Gone };
        let done = What::UpgradeDone { upgrade: UpgradeId(1), by: "version 2 answered".to_owned() };
        let script = Script::new().main(100, 1).holders(200, &[1, 5]).event(900, What::Held { connections: 4 });
        let script = script.trigger(1000, 1, 2).event(1100, done).event(1150, gone).trigger(1200, 2, 3);
        check(next(script.request(answered(1300, 1301, 3)), 4), Inconclusive);
        check(Script::new().trigger(1000, 1, 2).trigger(1200, 2, 3), Inconclusive);
    }
}
