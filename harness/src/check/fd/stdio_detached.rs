//! fd/stdio-detached: standard streams are neither a terminal nor the launcher's.

use crate::check::Check;
use crate::check::daemon::{of_portraits, open, unless};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "fd/stdio-detached",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon's standard input, output and error are neither a terminal nor its launcher's pipes.",
    source: "daemon(7), \"SysV Daemons\"",
    reports: &["sslh#468"],
    observed: "The links of descriptors 0, 1 and 2 of every process of the target in `/proc/PID/fd` at rest after the start.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    of_portraits(history, |portrait| {
        let pipes = &portrait.launcher.pipes;
        let wrong = open(portrait, |it| it.number <= 2 && (is_terminal(&it.link) || pipes.contains(&it.link)));
        unless(wrong, "descriptors 0, 1 and 2 are its own")
    })
}

/// Names of terminals in `/dev` (pts(4), tty(4), console(4)).
fn is_terminal(link: &str) -> bool {
    ["/dev/pts/", "/dev/tty", "/dev/console"].iter().any(|name| link.starts_with(name))
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
    fn null_and_a_log_pass() {
        check(|_| {}, Pass);
    }

    #[test]
    fn a_terminal_or_the_launchers_pipe_fails() {
        check(|portrait| opened(portrait, 0, "/dev/pts/3"), Fail);
        check(|portrait| opened(portrait, 2, "pipe:[51]"), Fail);
    }

    #[test]
    fn above_two_it_is_another_checks_business() {
        check(|portrait| opened(portrait, 10, "pipe:[51]"), Pass);
    }
}
