//! detach/orphaned: the daemon is the reaper's child, and nothing of its launcher is left.

use crate::check::Check;
use crate::check::daemon::{of_portraits, unless};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "detach/orphaned",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "After the launcher returns, the daemon lives, launcher and intermediates are gone, and its parent is whoever adopts orphans.",
    source: "daemon(7), \"SysV Daemons\"; PR_SET_CHILD_SUBREAPER(2const)",
    reports: &["domoticz#1211", "browser-harness#692"],
    observed: "The parent of the main process in `/proc/PID/stat` (field 4) at rest after the start: init of the namespace, or \
               the nearest subreaper. The launcher is among no living processes.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    of_portraits(history, |portrait| {
        let Some(main) = portrait.main() else {
            return Err(vec![format!("the daemon, pid {}, is gone after its start", portrait.main.pid)]);
        };
        let mut wrong = Vec::new();
        if main.ppid != portrait.reaper {
            let text = format!("pid {} is a child of pid {}, not of {}", main.image.pid, main.ppid, portrait.reaper);
            wrong.push(text);
        }
        let launcher = portrait.launcher.pid.filter(|pid| portrait.processes.iter().any(|it| it.image.pid == *pid));
        wrong.extend(launcher.map(|pid| format!("the launcher, pid {pid}, still lives")));
        unless(wrong, format!("pid {} is a child of pid {}", main.image.pid, portrait.reaper))
    })
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::portrayed;
    use crate::check::script::image;
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
    fn a_child_of_the_reaper_passes() {
        check(|_| {}, Pass);
    }

    #[test]
    fn a_process_between_fails() {
        check(|portrait| portrait.processes[0].ppid = crate::id::Pid(6), Fail);
    }

    #[test]
    fn a_launcher_that_lives_on_fails() {
        check(
            |portrait| {
                let mut launcher = portrait.processes[0].clone();
                launcher.image = image(5);
                portrait.processes.push(launcher);
            },
            Fail,
        );
    }

    #[test]
    fn a_daemon_that_is_gone_fails() {
        check(|portrait| portrait.processes.clear(), Fail);
    }
}
