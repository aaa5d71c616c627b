//! leak/processes: upgrade after upgrade, no process and no zombie stays.

use crate::check::rest::{BASELINE, rests, since_baseline};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "leak/processes",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "Upgrades leave no process behind: at rest their number is constant, and none is a zombie.",
    source: "wait(2): a child that is not waited for stays in the process table",
    reports: &["moby#29238", "naemon#116"],
    observed: "After each upgrade, the old generation gone and the load interrupted, the processes of the target are counted \
               once nothing changes any more; a zombie is one that is still there after the next upgrade.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let rests = rests(history);
    let mut findings = Vec::new();
    // One that is waited for late is gone by the next snapshot.
    for (before, rest) in rests.iter().zip(rests.iter().skip(1)) {
        let still = rest.zombies.iter().filter(|image| before.zombies.contains(image));
        let pids: Vec<String> = still.map(|image| image.pid.to_string()).collect();
        if pids.is_empty() {
            continue;
        }
        let text = format!("after upgrade {}: zombies, never waited for: {}", rest.upgrade, pids.join(", "));
        findings.push(Finding::fail(vec![Evidence::text(text).event(rest.seq)]));
    }
    let Some((baseline, later)) = since_baseline(&rests) else {
        let text = format!("no snapshot at rest follows the one after upgrade {BASELINE}");
        findings.push(Finding::inconclusive(text));
        return findings;
    };
    let (last, were) = (&later[later.len() - 1], baseline.processes.len());
    let are = last.processes.len();
    let text = format!("{were} processes after upgrade {}, {are} after upgrade {}", baseline.upgrade, last.upgrade);
    let evidence = Evidence::text(text).event(baseline.seq).event(last.seq);
    findings.push(if are == were { Finding::pass(evidence) } else { Finding::fail(vec![evidence]) });
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn a_constant_number_passes() {
        check(Script::new().at_rest(3000, 3, &[(1, 9), (5, 8)], &[]).at_rest(4000, 4, &[(1, 9), (6, 8)], &[]), Pass);
    }

    #[test]
    fn one_more_process_fails() {
        check(
            Script::new().at_rest(3000, 3, &[(1, 9), (5, 8)], &[]).at_rest(4000, 4, &[(1, 9), (5, 8), (6, 8)], &[]),
            Fail,
        );
    }

    #[test]
    fn a_zombie_fails_when_the_next_upgrade_finds_it_too() {
        let first = || Script::new().at_rest(1000, 1, &[(1, 9), (5, 8)], &[4]);
        check(first().at_rest(2000, 2, &[(1, 9), (6, 8)], &[4, 5]), Fail);
        check(first().at_rest(2000, 2, &[(1, 9), (6, 8)], &[5]), Inconclusive);
    }

    #[test]
    fn one_upgrade_has_nothing_to_be_compared_with() {
        check(Script::new().at_rest(1000, 1, &[(1, 9), (5, 8)], &[]), Inconclusive);
    }
}
