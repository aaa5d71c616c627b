//! pidfile/after-failed-upgrade: the survivor is who is to be found.

use crate::check::Check;
use crate::check::daemon::{is_exactly, told};
use crate::event::{Event, FileLook, What};
use crate::history::History;
use crate::id::{Pid, UpgradeId};
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/after-failed-upgrade",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Pidfile),
    requirement: "After an upgrade that failed the pidfile names the main process of the generation that goes on serving.",
    source: "the meaning of a rollback: the state before it; nginx(8), \"Upgrading Executable on the Fly\"",
    reports: &["tableflip"],
    observed: "After the upgrade to an executable that exits at once, or one that lacked something, and the time for which the scenario \
               lets the load go on: the bytes of the pidfile, against the nearest process that is, or is an ancestor of, every \
               process that holds a listener.",
    needs: &[],
    observers: &[],
    // Whether who lacks something lives on may be chance.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let looks = history.find(|what| match what {
        What::Survived { upgrade, pidfile, survivor } => Some((*upgrade, pidfile, *survivor)),
        _ => None,
    });
    let findings: Vec<Finding> = looks.map(|(event, (id, look, survivor))| one(event, id, look, survivor)).collect();
    if findings.is_empty() {
        vec![Finding::inconclusive("no upgrade was triggered that was to fail")]
    } else {
        findings
    }
}

fn one(event: &Event, id: UpgradeId, look: &FileLook, survivor: Option<Pid>) -> Finding {
    let evidence = |text: String| Evidence::text(text).event(event.seq);
    let Some(survivor) = survivor else {
        // There had to be one: what ran instead of it has ended, and the run has shown that it did.
        let text = format!("nobody serves any more, and the pidfile is {}", told(look));
        return Finding::fail(vec![evidence(text)]).on_time().of(id);
    };
    let finding = match look.content.as_deref() {
        Some(content) if is_exactly(content, survivor) => {
            Finding::pass(evidence(format!("pid {survivor} serves on, and the pidfile names it")))
        }
        _ => Finding::fail(vec![evidence(format!("pid {survivor} serves on, and the pidfile is {}", told(look)))]),
    };
    finding.of(id)
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::{absent, file};
    use crate::event::{FileLook, What};
    use crate::id::{Pid, UpgradeId};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(pidfile: FileLook, survivor: Option<i32>, want: Verdict) {
        let what = What::Survived { upgrade: UpgradeId(1), pidfile, survivor: survivor.map(Pid) };
        let history = Script::new().broken(1000, 1).broken_ran(1005, 1).event(1600, what).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
    }

    #[test]
    fn a_pidfile_that_names_the_survivor_passes() {
        check(file("7\n"), Some(7), Pass);
        check(file("7"), Some(7), Pass);
    }

    #[test]
    fn no_pidfile_or_another_number_fails() {
        check(absent(), Some(7), Fail);
        check(file("8\n"), Some(7), Fail);
        check(file(""), Some(7), Fail);
    }

    #[test]
    fn where_nobody_survived_there_is_nobody_to_be_named() {
        check(file("7\n"), None, Fail);
        check(absent(), None, Fail);
    }

    #[test]
    fn where_nothing_failed_nothing_is_proven() {
        let history = Script::new().broken(1000, 1).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Inconclusive);
    }
}
