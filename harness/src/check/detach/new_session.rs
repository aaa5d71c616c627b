//! detach/new-session: the daemon has left its launcher's session.

use crate::check::Check;
use crate::check::daemon::{of_portraits, unless};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "detach/new-session",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon's session differs from its launcher's.",
    source: "setsid(2); daemon(7), \"SysV Daemons\"",
    reports: &["sshfs#141", "scaffold#34"],
    observed: "The session of every process of the target in `/proc/PID/stat` (field 6) at rest after the start, against the \
               launcher's.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    of_portraits(history, |portrait| {
        let shared = portrait.processes.iter().filter(|it| Some(it.session) == portrait.launcher.session);
        let wrong = shared.map(|it| format!("pid {} is in its launcher's session, {}", it.image.pid, it.session));
        unless(wrong.collect(), "no process is in the launcher's session")
    })
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
    fn a_session_of_its_own_passes() {
        check(|_| {}, Pass);
    }

    #[test]
    fn the_launchers_session_fails() {
        check(|portrait| portrait.processes[0].session = crate::id::Pid(1), Fail);
    }
}
