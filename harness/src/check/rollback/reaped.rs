//! rollback/reaped: of a new version that failed no zombie and no process stays.

use crate::check::Check;
use crate::check::rest::{Rest, rests};
use crate::event::{ProcessChange, What};
use crate::history::{History, Upgrade};
use crate::id::Image;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/reaped",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::ExecSelf),
    requirement: "Of a new generation that failed no zombie and no half-born process stays.",
    source: "wait(2): a child that is not waited for stays in the process table",
    reports: &[],
    observed: "The processes of the target at rest after each of the two good upgrades that follow on one to a broken executable: a zombie that stands in both of the later looks, or a process that appeared between the broken \
               upgrade and the next one and is there in both. The harness has ended a new generation that hung and was not given up.",
    needs: &[],
    observers: &["processes"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let rests = rests(history);
    let findings: Vec<Finding> =
        history.broken_upgrades().iter().map(|upgrade| one(history, &rests, upgrade).of(upgrade.id)).collect();
    if findings.is_empty() {
        return vec![Finding::inconclusive("no upgrade to a broken executable was triggered")];
    }
    findings
}

fn one(history: &History, rests: &[Rest<'_>], upgrade: &Upgrade) -> Finding {
    if upgrade.done.is_none() {
        return Finding::inconclusive("the broken executable never ran");
    }
    let mut after = rests.iter().filter(|rest| rest.seq > upgrade.trigger_seq);
    let (Some(first), Some(second)) = (after.next(), after.next()) else {
        return Finding::inconclusive("the target was not seen at rest twice after it");
    };
    // One that is waited for late, or ends late, is gone by the second look.
    let zombies = first.zombies.iter().filter(|image| second.zombies.contains(image));
    let mut stays: Vec<String> = zombies.map(|image| format!("process {} is a zombie", image.pid)).collect();
    let lives = |rest: &Rest<'_>, image: Image| rest.processes.iter().any(|row| row.image == image);
    let born = born_meanwhile(history, upgrade).filter(|image| lives(first, *image) && lives(second, *image));
    stays.extend(born.map(|image| format!("process {} lives on", image.pid)));
    let seen = |text: String| Evidence::text(text).event(first.seq).event(second.seq);
    if stays.is_empty() {
        Finding::pass(seen(
            "nothing of the new generation was left, at rest after the upgrades that followed".to_owned(),
        ))
    } else {
        Finding::fail(vec![seen(format!("of the new generation: {}", stays.join(", ")))])
    }
}

/// Whoever appeared between the broken upgrade and the next one.
fn born_meanwhile(history: &History, upgrade: &Upgrade) -> impl Iterator<Item = Image> {
    let (from, until) = (upgrade.trigger.not_before, upgrade.window_end);
    let appeared = history.find(|what| match what {
        What::Process { image, change: ProcessChange::Appeared { .. } } => Some(*image),
        _ => None,
    });
    appeared
        .filter(move |(event, _)| event.at.not_before >= from && event.at.not_after <= until)
        .map(|(_, image)| image)
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::Broken;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn broken() -> Script {
        Script::new().broken_by(1000, 1, Broken::Crashes).broken_ran(1005, 1)
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_new_generation_that_is_gone_passes() {
        check(broken().at_rest(1600, 2, &[(1, 9), (5, 8)], &[]).at_rest(2600, 3, &[(1, 9), (7, 8)], &[]), Pass);
    }

    #[test]
    fn a_zombie_fails_unless_the_next_look_finds_it_no_more() {
        let zombie = || broken().at_rest(1600, 2, &[(1, 9), (5, 8)], &[6]);
        check(zombie().at_rest(2600, 3, &[(1, 9), (7, 8)], &[6]), Fail);
        check(zombie().at_rest(2600, 3, &[(1, 9), (7, 8)], &[5]), Pass);
    }

    #[test]
    fn a_half_born_process_fails_and_a_successor_of_the_old_one_does_not() {
        let born =
            || broken().appeared(1006, 6, 1).trigger(1300, 2, 2).at_rest(1600, 2, &[(1, 9), (5, 8), (6, 3)], &[]);
        check(born().at_rest(2600, 3, &[(1, 9), (6, 3), (7, 8)], &[]), Fail);
        check(born().at_rest(2600, 3, &[(1, 9), (7, 8)], &[]), Pass);
        // A helper that came with the upgrade that worked is none of the one that failed.
        let later = broken().trigger(1300, 2, 2).appeared(1301, 6, 1).at_rest(1600, 2, &[(1, 9), (6, 3)], &[]);
        check(later.at_rest(2600, 3, &[(1, 9), (6, 3), (7, 8)], &[]), Pass);
    }

    #[test]
    fn one_look_proves_nothing() {
        check(broken().at_rest(1600, 2, &[(1, 9), (5, 8)], &[6]), Inconclusive);
        check(Script::new().broken(1000, 1), Inconclusive);
    }
}
