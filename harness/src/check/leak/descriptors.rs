//! leak/descriptors: upgrade after upgrade, no descriptor stays open.

use crate::check::rest::{BASELINE, Rest, rests, since_baseline};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "leak/descriptors",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "Upgrades leave no descriptor open: at rest there are no more after the last ones than after the third.",
    source: "getrlimit(2) RLIMIT_NOFILE: a process that leaks one per upgrade has an end",
    reports: &["gunicorn#245", "pg_doorman#264"],
    observed: "After each upgrade, the old generation gone and the load interrupted, the entries of /proc/PID/fd of every \
               process of the target are counted once nothing changes any more. The lowest count of the last three upgrades is \
               compared with the lowest of the third to the fifth.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// From outside rest cannot be told from a pause: starved of the processor, a target may stand still with a child that it
/// has yet to wait for, or with a connection that was reset. Such a descriptor is gone in a later snapshot, a leak never.
const SNAPSHOTS: usize = 3;

fn decide(history: &History) -> Vec<Finding> {
    let rests = rests(history);
    let Some((baseline, later)) = since_baseline(&rests) else {
        return vec![Finding::inconclusive(format!("no snapshot at rest follows the one after upgrade {BASELINE}"))];
    };
    let lowest = |rest: &&Rest<'_>| rest.descriptors();
    let first = std::iter::once(baseline).chain(later).take(SNAPSHOTS).min_by_key(lowest).unwrap_or(baseline);
    let last = later.iter().rev().take(SNAPSHOTS).min_by_key(lowest).unwrap_or(baseline);
    let evidence = vec![
        Evidence::text(format!("after upgrade {}: {} descriptors", first.upgrade, first.by_process())).event(first.seq),
        Evidence::text(format!("after upgrade {}: {} descriptors", last.upgrade, last.by_process())).event(last.seq),
    ];
    if last.descriptors() <= first.descriptors() {
        return vec![Finding::new(crate::verdict::Verdict::Pass, evidence)];
    }
    vec![Finding::fail(evidence)]
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(counts: &[usize], want: Verdict) {
        let rest = |script: Script, (n, count): (usize, &usize)| {
            let upgrade = u32::try_from(n).expect("a few") + 1;
            script.at_rest(1000 * u64::from(upgrade), upgrade, &[(1, *count), (5, 8)], &[])
        };
        let findings = (super::CHECK.decide)(&counts.iter().enumerate().fold(Script::new(), rest).history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn the_same_count_after_the_last_upgrade_passes() {
        check(&[7, 8, 9, 9, 9], Pass);
    }

    #[test]
    fn one_more_in_a_single_snapshot_passes_and_hides_no_leak() {
        check(&[7, 8, 9, 9, 9, 9, 10], Pass);
        check(&[7, 8, 11, 9, 9, 9, 9], Pass);
        check(&[7, 8, 11, 9, 9, 10, 10, 10], Fail);
    }

    #[test]
    fn one_more_for_each_upgrade_fails() {
        check(&[7, 8, 9, 10, 11], Fail);
    }

    #[test]
    fn three_upgrades_have_nothing_to_be_compared_with() {
        check(&[7, 8, 9], Inconclusive);
    }
}
