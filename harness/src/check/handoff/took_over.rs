//! handoff/took-over: after the trigger a new generation answers.

use crate::check::{Check, Witness};
use crate::clock::Interval;
use crate::event::{ProcessChange, What};
use crate::history::{History, Upgrade};
use crate::id::Image;
use crate::manifest::Profile;
use crate::request::Request;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/took-over",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "After the trigger a new generation answers.",
    source: "the meaning of a restart; nginx \"Upgrading Executable on the Fly\"",
    reports: &["null targets: ignores the signal; claims a restart without one; re-executes the old inode"],
    observed: "An answer after the trigger carries the deployed version (or, where answers carry none, a \
               process that appeared after the trigger holds the listener). Without it nothing else in handoff, drain \
               or leak can pass.",
    needs: &[Witness::Upgrades],
    observers: &["processes"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    history.upgrades().iter().map(|upgrade| one(history, upgrade).of(upgrade.id)).collect()
}

pub(in crate::check) fn one(history: &History, upgrade: &Upgrade) -> Finding {
    if !history.plan.target.tells_versions() {
        return by_image(history, upgrade);
    }
    let version = upgrade.version;
    // By its end: what a connection of before the trigger brings may be accepted, and answered, by the new generation.
    let after = |request: &&Request| request.ended >= upgrade.trigger.not_before;
    let first = history.load().filter(after).filter(|it| it.version() >= Some(version)).min_by_key(|it| it.ended);
    if let Some(first) = first {
        let text = format!(
            "version {version} answered first at {}, {} ms after the trigger",
            first.ended,
            first.ended.since(upgrade.trigger.not_before).as_millis()
        );
        return Finding::pass(Evidence::text(text).requests([first.id]).event(upgrade.trigger_seq));
    }
    let probed = history.find(|what| match what {
        What::Probed { version: seen } if *seen >= version => Some(*seen),
        _ => None,
    });
    if let Some((event, seen)) = probed.into_iter().find(|(event, _)| event.at.not_before >= upgrade.trigger.not_before)
    {
        let text = format!("version {seen} answered a probe at {}", event.at.not_after);
        return Finding::pass(Evidence::text(text).event(event.seq));
    }
    let answered: Vec<_> = history.load().filter(after).filter(|it| it.failure().is_none()).collect();
    let last = answered.iter().filter_map(|it| it.version()).max();
    let told = match last {
        Some(last) => format!("{} answers came after the trigger, the newest of version {last}", answered.len()),
        None => "nothing was answered after the trigger".to_owned(),
    };
    let (from, until) = (upgrade.trigger.not_before, upgrade.window_end);
    let mut evidence = vec![
        Evidence::text(format!("no answer of version {version} between {from} and {until}")).event(upgrade.trigger_seq),
        Evidence::text(told),
    ];
    evidence.extend(passed(history, upgrade));
    Finding::fail(evidence).on_time()
}

/// That the upgrade's deadline passed.
fn passed(history: &History, upgrade: &Upgrade) -> Option<Evidence> {
    let deadline = |what: &What| match what {
        What::DeadlinePassed { name, length_ms } if name == "upgrade" => Some(*length_ms),
        _ => None,
    };
    let of_upgrade = |at: Interval| upgrade.trigger.not_before <= at.not_before && at.not_before <= upgrade.window_end;
    let (event, length_ms) = history.find(deadline).find(|(event, _)| of_upgrade(event.at))?;
    Some(Evidence::text(format!("upgrade: not within {length_ms} ms")).event(event.seq))
}

fn by_image(history: &History, upgrade: &Upgrade) -> Finding {
    let old: Vec<Image> = history
        .events
        .iter()
        .filter(|event| event.at.not_after <= upgrade.trigger.not_before)
        .filter_map(|event| match &event.what {
            What::Process { image, change: ProcessChange::Appeared { .. } } => Some(*image),
            _ => None,
        })
        .collect();
    let after = history.events.iter().filter(|event| event.at.not_after > upgrade.trigger.not_before);
    for event in after {
        let What::Holders { images, .. } = &event.what else { continue };
        if let Some(image) = images.iter().find(|image| !old.contains(image)) {
            let text = format!("process {} appeared after the trigger and holds the listener", image.pid);
            return Finding::pass(Evidence::text(text).event(event.seq));
        }
    }
    let text = "no process that appeared after the trigger holds the listener";
    let evidence = [Evidence::text(text).event(upgrade.trigger_seq)];
    Finding::fail(evidence.into_iter().chain(passed(history, upgrade)).collect()).on_time()
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(requests: &[(u64, u64, u32)], want: Verdict) {
        let mut script = Script::new().trigger(1000, 1, 2);
        for &(began, ended, version) in requests {
            script = script.request(answered(began, ended, version));
        }
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn an_answer_of_the_new_version_passes() {
        check(&[(900, 901, 1), (1100, 1101, 2)], Pass);
    }

    #[test]
    fn a_request_of_before_the_trigger_that_the_new_version_answers_passes() {
        check(&[(900, 1001, 2)], Pass);
    }

    #[test]
    fn only_the_old_version_after_the_trigger_fails() {
        check(&[(900, 901, 1), (1100, 1101, 1)], Fail);
    }

    #[test]
    fn no_answer_at_all_fails() {
        check(&[(900, 901, 1)], Fail);
    }
}
