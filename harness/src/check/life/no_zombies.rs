//! life/no-zombies: children that have ended are waited for.

use crate::check::Check;
use crate::check::rest::rests;
use crate::history::History;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "life/no-zombies",
    level: Level::Must,
    profile: None,
    capability: None,
    requirement: "At rest no child that has ended is left unwaited for.",
    source: "wait(2), NOTES: a zombie stays in the process table as long as its parent lives and does not wait",
    reports: &["moby#29238", "naemon#116"],
    observed: "All processes of the target, by pid and start time, once nothing changes any more: one in state Z has been so for up \
               to 200 ms of looking every half millisecond. It is not provoked: a target that starts no child passes.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rest in rests(history) {
        let zombie = |image: &crate::id::Image| {
            let text = format!("process {} has ended, and nobody waits for it", image.pid);
            Evidence::text(text).event(rest.seq)
        };
        findings.push(if !rest.zombies.is_empty() {
            Finding::fail(rest.zombies.iter().map(zombie).collect())
        } else if rest.processes.is_empty() {
            Finding::inconclusive("no process of the target lived any more")
        } else {
            let text = format!("{} processes at rest, and no zombie", rest.processes.len());
            Finding::pass(Evidence::text(text).event(rest.seq))
        });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no snapshot of the target at rest was taken"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(script: Script, want: Verdict) {
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want);
    }

    #[test]
    fn living_processes_alone_pass() {
        check(Script::new().at_rest(100, 0, &[(7, 5)], &[]), Pass);
    }

    #[test]
    fn a_zombie_fails() {
        check(Script::new().at_rest(100, 0, &[(7, 5)], &[8]), Fail);
    }

    #[test]
    fn nobody_and_no_look_prove_nothing() {
        check(Script::new().at_rest(100, 0, &[], &[]), Inconclusive);
        check(Script::new(), Inconclusive);
    }
}
