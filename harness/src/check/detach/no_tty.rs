//! detach/no-tty: the daemon has no controlling terminal.

use crate::check::Check;
use crate::check::daemon::{of_portraits, portraits, unless};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "detach/no-tty",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon has no controlling terminal.",
    source: "daemon(7), \"SysV Daemons\"; tty(4)",
    reports: &["origin-server#5520"],
    observed: "The controlling terminal of every process of the target in `/proc/PID/stat` (field 7) at rest after the start. \
               A pass needs a launcher that had one.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = of_portraits(history, |portrait| {
        let holders = portrait.processes.iter().filter(|it| it.tty != 0);
        let wrong = holders.map(|it| format!("pid {} has the controlling terminal {:#x}", it.image.pid, it.tty));
        unless(wrong.collect(), "no process has a controlling terminal")
    });
    for (finding, (_, portrait)) in findings.iter_mut().zip(portraits(history)) {
        if finding.verdict == Verdict::Pass && !portrait.launcher.terminal {
            *finding = Finding::inconclusive("its launcher had no terminal either");
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::portrayed;
    use crate::event::DaemonPortrait;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        assert_eq!(portrayed(&super::CHECK, change), want);
    }

    #[test]
    fn without_a_daemon_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn none_passes_where_the_launcher_had_one() {
        check(|_| {}, Pass);
        check(|portrait| portrait.launcher.terminal = false, Inconclusive);
    }

    #[test]
    fn any_fails() {
        check(|portrait| portrait.processes[0].tty = 0x8803, Fail);
    }
}
