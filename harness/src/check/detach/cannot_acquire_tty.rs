//! detach/cannot-acquire-tty: the daemon leads no session, so that no open(2) gives it a controlling terminal.

use crate::check::Check;
use crate::check::daemon::{of_portraits, unless};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "detach/cannot-acquire-tty",
    level: Level::Should,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon is not the leader of its session, so that opening a terminal never makes it its controlling one.",
    source: "daemon(7), \"SysV Daemons\", step 7; open(2), O_NOCTTY; credentials(7)",
    reports: &["go-daemon (single fork)"],
    observed: "The pid of the main process against its session in `/proc/PID/stat` (field 6) at rest after the start. That it \
               cannot get a terminal follows from it: only a session leader can.",
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
        let (pid, session) = (main.image.pid, main.session);
        let leads =
            (pid == session).then(|| format!("pid {pid} leads its session: a terminal that it opens becomes its own"));
        unless(leads.into_iter().collect(), format!("pid {pid} does not lead its session, {session}"))
    })
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::portrayed;
    use crate::event::DaemonPortrait;
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        assert_eq!(portrayed(&super::CHECK, change), want);
    }

    #[test]
    fn without_a_daemon_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn a_member_of_a_session_passes() {
        check(|_| {}, Pass);
    }

    #[test]
    fn its_leader_fails() {
        check(|portrait| portrait.processes[0].session = Pid(7), Fail);
    }

    #[test]
    fn a_daemon_that_is_gone_fails() {
        check(|portrait| portrait.processes.clear(), Fail);
    }
}
