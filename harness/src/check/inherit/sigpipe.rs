//! inherit/sigpipe: a helper dies of SIGPIPE as programs do.

use crate::check::Check;
use crate::check::daemon::of_helpers;
use crate::event::{DaemonPortrait, ProcessPortrait};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::target::Signal;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/sigpipe",
    level: Level::Should,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Helpers),
    requirement: "Helpers begin with SIGPIPE at its default, whatever the daemon does with it: a pipeline whose reader is gone ends.",
    source: "execve(2): ignored signals stay ignored; signal(7)",
    reports: &["cups#3399"],
    observed: "`SigIgn` in `/proc/PID/status` of every helper of a daemon at rest: a process that neither is the main one nor stands \
               above it nor shares a socket with it, and that has executed a program of its own (its stack begins elsewhere).",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

const PIPE: Signal = Signal(libc::SIGPIPE);

fn decide(history: &History) -> Vec<Finding> {
    let ignores = |pid| format!("pid {pid}, a helper, ignores {PIPE}");
    let judge = |_: &DaemonPortrait, helper: &ProcessPortrait| {
        Some(helper.ignored.has(PIPE).then(|| ignores(helper.image.pid)).into_iter().collect())
    };
    of_helpers(history, judge, "no helper ignores PIPE")
}

#[cfg(test)]
mod tests {
    use super::PIPE;
    use crate::check::script::Script;
    use crate::check::script::daemon::helper;
    use crate::check::script::daemon::portrayed;
    use crate::event::DaemonPortrait;
    use crate::id::Pid;
    use crate::target::{Signal, SignalSet};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn set(signal: Signal) -> SignalSet {
        [signal].into_iter().collect()
    }

    fn check(change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        assert_eq!(portrayed(&super::CHECK, change), want);
    }

    #[test]
    fn a_helper_with_the_default_passes_whatever_the_daemon_ignores() {
        check(|it| helper(it).ignored = SignalSet::default(), Pass);
        check(|it| helper(it).ignored = set(Signal(libc::SIGINT)), Pass);
        check(
            |it| {
                helper(it);
                it.processes[0].ignored = set(PIPE);
            },
            Pass,
        );
    }

    #[test]
    fn a_helper_that_ignores_it_fails() {
        check(|it| helper(it).ignored = set(PIPE), Fail);
    }

    #[test]
    fn who_only_forked_or_stands_above_or_is_a_worker_is_no_helper() {
        check(|_| {}, Inconclusive);
        check(
            |it| {
                let worker = helper(it);
                (worker.image.start_stack, worker.ignored) = (1, set(PIPE));
            },
            Inconclusive,
        );
        check(
            |it| {
                let listener = it.processes[0].descriptors[3].clone();
                let worker = helper(it);
                worker.ignored = set(PIPE);
                worker.descriptors.push(listener);
            },
            Inconclusive,
        );
        check(
            |it| {
                let above = helper(it);
                (above.ppid, above.ignored) = (Pid(1), set(PIPE));
                it.processes[0].ppid = it.processes[1].image.pid;
            },
            Inconclusive,
        );
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }
}
