//! fd/close-on-exec: what the daemon has open is not for the programs that it executes.

use crate::check::Check;
use crate::check::daemon::{of_portraits, open, unless};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "fd/close-on-exec",
    level: Level::Should,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "Pidfile, listeners and every other descriptor above 2 that the daemon has opened are close-on-exec: a helper neither \
                  holds its lock nor its port when it is gone.",
    source: "open(2), O_CLOEXEC; socket(2), SOCK_CLOEXEC",
    reports: &["h2o#336", "go-daemon's pidfile blocks the next start"],
    observed: "The flags (02000000) of every descriptor above 2 of every process of the target in `/proc/PID/fdinfo` at rest after the \
               start. What it inherited from its launcher is left to fd/none-inherited and fd/launcher-eof.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    of_portraits(history, |portrait| {
        let ties = &portrait.launcher;
        let inherited = |link: &String| ties.planted.contains(link) || ties.pipes.contains(link);
        let own = open(portrait, |it| it.number > 2 && !inherited(&it.link));
        let handed_on = open(portrait, |it| it.number > 2 && !inherited(&it.link) && !it.closes_on_exec());
        let wrong = handed_on.into_iter().map(|text| format!("{text}, which is not close-on-exec")).collect();
        unless(wrong, format!("{} descriptors above 2 are close-on-exec", own.len()))
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
    fn standard_streams_are_for_whoever_is_executed() {
        check(|_| {}, Pass);
        check(|portrait| portrait.processes[0].descriptors[3].flags = 0o2_000_002, Pass);
    }

    #[test]
    fn a_listener_that_is_handed_on_fails() {
        check(|portrait| portrait.processes[0].descriptors[3].flags = 0o2, Fail);
    }

    #[test]
    fn what_the_launcher_left_is_another_checks_business() {
        check(|portrait| opened(portrait, 9, "pipe:[90]"), Pass);
        check(|portrait| opened(portrait, 10, "pipe:[51]"), Pass);
        check(|portrait| opened(portrait, 10, "pipe:[99]"), Fail);
    }
}
