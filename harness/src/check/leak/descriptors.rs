//! leak/descriptors: upgrade after upgrade, no descriptor stays open.

use crate::check::rest::{BASELINE, rests, since_baseline};
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
    requirement: "Upgrades leave no descriptor open: at rest the count after the last one equals that after the third.",
    source: "getrlimit(2) RLIMIT_NOFILE: a process that leaks one per upgrade has an end",
    reports: &["gunicorn#245", "pg_doorman#264"],
    observed: "After each upgrade, the old generation gone and the load interrupted, the entries of /proc/PID/fd of every \
               process of the target are counted once nothing changes any more.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let rests = rests(history);
    let Some((baseline, later)) = since_baseline(&rests) else {
        return vec![Finding::inconclusive(format!("no snapshot at rest follows the one after upgrade {BASELINE}"))];
    };
    let last = &later[later.len() - 1];
    let evidence = vec![
        Evidence::text(format!("after upgrade {}: {} descriptors", baseline.upgrade, baseline.by_process()))
            .event(baseline.seq),
        Evidence::text(format!("after upgrade {}: {} descriptors", last.upgrade, last.by_process())).event(last.seq),
    ];
    if last.descriptors() == baseline.descriptors() {
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
    fn one_more_for_each_upgrade_fails() {
        check(&[7, 8, 9, 10, 11], Fail);
    }

    #[test]
    fn three_upgrades_have_nothing_to_be_compared_with() {
        check(&[7, 8, 9], Inconclusive);
    }
}
