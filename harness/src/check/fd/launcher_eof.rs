//! fd/launcher-eof: whoever reads the launcher's output sees its end.

use crate::check::Check;
use crate::check::daemon::{of_portraits, open, unless};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "fd/launcher-eof",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "Once the daemon is up no process of it holds its launcher's standard output or error: whoever reads them sees the end \
                  of file.",
    source: "pipe(7); daemon(7), \"SysV Daemons\"",
    reports: &["OpenRC#239", "sshuttle#139", "dhcpcd#716"],
    observed: "The inodes of the launcher's pipes in `/proc/PID/fd` of every process of the target at rest after the start, and \
               the end of file at their read ends.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    of_portraits(history, |portrait| {
        let mut wrong = open(portrait, |it| portrait.launcher.pipes.contains(&it.link));
        if wrong.is_empty() && !portrait.end_of_output {
            wrong.push("the launcher's standard output or error has no end of file yet".to_owned());
        }
        unless(wrong, "both readers saw the end of file")
    })
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::opened;
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
    fn an_end_of_file_passes() {
        check(|_| {}, Pass);
    }

    #[test]
    fn a_forgotten_copy_fails() {
        check(|portrait| opened(portrait, 10, "pipe:[50]"), Fail);
    }

    #[test]
    fn a_missing_end_fails_whoever_holds_it_up() {
        check(|portrait| portrait.end_of_output = false, Fail);
    }
}
