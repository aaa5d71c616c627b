//! leak/environment: upgrade after upgrade, what a generation is executed with does not grow.

use crate::check::rest::{BASELINE, Rest, rests, since_baseline};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::id::Pid;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "leak/environment",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "Upgrades do not make arguments and environment of the service grow.",
    source: "execve(2): arguments and environment have a limit together, and whoever exceeds it is not executed (E2BIG)",
    reports: &[],
    observed: "After each upgrade, the old generation gone and the load interrupted, the bytes of /proc/PID/cmdline and \
               /proc/PID/environ of each process of the target, a number in them counted as one byte. Those of the last upgrade \
               are compared with those of the third: as many of the largest as both have.",
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
    let (were, are) = (largest_first(baseline), largest_first(last));
    let both = were.len().min(are.len());
    if both == 0 {
        return vec![Finding::inconclusive("arguments and environment of nobody could be read")];
    }
    let bytes = |rows: &[(usize, Pid)]| rows[..both].iter().map(|(bytes, _)| bytes).sum::<usize>();
    let told = |rest: &Rest<'_>, rows: &[(usize, Pid)]| {
        let each: Vec<String> = rows[..both].iter().map(|(bytes, pid)| format!("process {pid}: {bytes}")).collect();
        let text = format!("after upgrade {}: {} bytes ({})", rest.upgrade, bytes(rows), each.join(", "));
        Evidence::text(text).event(rest.seq)
    };
    let evidence = vec![told(baseline, &were), told(last, &are)];
    let grown = bytes(&are) > bytes(&were);
    vec![if grown { Finding::fail(evidence) } else { Finding::new(crate::verdict::Verdict::Pass, evidence) }]
}

/// Of each process whose words can be read.
fn largest_first(rest: &Rest<'_>) -> Vec<(usize, Pid)> {
    let mut rows: Vec<(usize, Pid)> =
        rest.processes.iter().filter_map(|row| Some((row.words?, row.image.pid))).collect();
    rows.sort_unstable_by(|one, other| other.cmp(one));
    rows
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{AtRest, What};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// One process each, with so many bytes of words after each upgrade.
    fn check(words: &[Option<usize>], want: Verdict) {
        let rest = |script: Script, (n, words): (usize, &Option<usize>)| {
            let upgrade = u32::try_from(n).expect("a few") + 1;
            let row =
                |pid, words| AtRest { image: image(pid), descriptors: 3, holds_listener: true, words, strays: false };
            let processes = vec![row(1, Some(90)), row(5 + i32::try_from(n).expect("a few"), *words)];
            let what = What::Quiescent { upgrade: UpgradeId(upgrade), processes, zombies: vec![] };
            script.event(1000 * u64::from(upgrade), what)
        };
        let findings = (super::CHECK.decide)(&words.iter().enumerate().fold(Script::new(), rest).history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn the_same_words_after_the_last_upgrade_pass() {
        check(&[Some(90), Some(95), Some(100), Some(100)], Pass);
    }

    #[test]
    fn a_variable_more_for_each_upgrade_fails() {
        check(&[Some(80), Some(85), Some(90), Some(95)], Fail);
        // Also in a process that is smaller than another one.
        check(&[Some(10), Some(11), Some(12), Some(13)], Fail);
    }

    #[test]
    fn what_cannot_be_compared_proves_nothing() {
        check(&[Some(90), Some(95), Some(100)], Inconclusive);
        // The one that can be read in both is the main process, which is the same.
        check(&[Some(90), Some(95), Some(50), None], Pass);
    }
}
