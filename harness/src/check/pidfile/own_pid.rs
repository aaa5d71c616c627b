//! pidfile/own-pid: the pidfile names the main process.

use crate::check::Check;
use crate::check::daemon::{number, of_portraits, shown, unless};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/own-pid",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "The pidfile names the main process, by the number that it has in its own pid namespace.",
    source: "daemon(7), \"SysV Daemons\"; FHS 3.0, \"/run\"",
    reports: &["gracehttp#6", "teleport#1852"],
    observed: "The first number in the file at rest after the start, against the process that holds the listener of the \
               endpoints, or is an ancestor of all that do: the nearest, unless the file names one above it.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    of_portraits(history, |portrait| {
        let main = portrait.main.pid;
        let wrong = match portrait.pidfile.as_deref() {
            None => vec!["there is no pidfile".to_owned()],
            Some(content) if number(content) == Some(main) => Vec::new(),
            Some(content) => vec![format!("it says {}, and the main process is pid {main}", shown(content))],
        };
        unless(wrong, format!("it names pid {main}"))
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
    fn the_main_process_passes_even_beside_words() {
        check(|_| {}, Pass);
        check(|portrait| portrait.pidfile = Some("pid 7".to_owned()), Pass);
    }

    #[test]
    fn another_one_or_none_fails() {
        check(|portrait| portrait.pidfile = Some("5\n".to_owned()), Fail);
        check(|portrait| portrait.pidfile = Some("77\n".to_owned()), Fail);
        check(|portrait| portrait.pidfile = None, Fail);
    }
}
