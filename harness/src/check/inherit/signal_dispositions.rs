//! inherit/signal-dispositions: what the launcher ignores is not ignored in the daemon.

use crate::check::Check;
use crate::check::daemon::{finding, portrait_from, start_from, unless};
use crate::event::{DaemonPortrait, ProcessPortrait};
use crate::history::History;
use crate::manifest::Profile;
use crate::scenario::Launcher;
use crate::target::Signal;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/signal-dispositions",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "A daemon whose launcher ignores HUP and CHLD does not ignore them by inheritance; one that was launched under \
                  nohup(1) is not ended by HUP.",
    source: "execve(2): ignored signals stay ignored; wait(2), SIGCHLD set to SIG_IGN; nohup(1)",
    reports: &["poco#3398"],
    observed: "`SigIgn`, `SigCgt` and the threads' `SigBlk` in `/proc/PID` of every process at rest after the start, from a clean \
               launcher, from one that ignores HUP and CHLD, and from one that ignores HUP. A signal that is ignored after a \
               clean start too is the daemon's own choice; one that all threads block is read by descriptor (signalfd(2)), \
               which works for an ignored HUP but not for CHLD, whose senders the kernel then reaps itself.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

const HANGUP: Signal = Signal(libc::SIGHUP);
const CHILD: Signal = Signal(libc::SIGCHLD);

fn decide(history: &History) -> Vec<Finding> {
    let Some((_, clean)) = portrait_from(history, Launcher::Clean) else {
        return vec![Finding::inconclusive("no daemon came to rest after a start from a clean launcher")];
    };
    let judged: [(Launcher, &str, Vec<String>); 2] = [
        (Launcher::IgnoredSignals, "neither HUP nor CHLD is ignored by inheritance", {
            let portrait = portrait_from(history, Launcher::IgnoredSignals);
            portrait.map(|(_, portrait)| inherited(clean, portrait)).unwrap_or_default()
        }),
        (Launcher::Nohup, "under nohup it ignores or handles HUP", {
            portrait_from(history, Launcher::Nohup).map(|(_, portrait)| mortal(portrait)).unwrap_or_default()
        }),
    ];
    let mut findings = Vec::new();
    for (from, right, wrong) in judged {
        if let Some((event, _)) = portrait_from(history, from) {
            findings.push(finding(event, unless(wrong, right)));
        } else if let Some((event, _)) = start_from(history, from) {
            let text = format!("it did not come to rest from the launcher {}", from.word());
            findings.push(Finding::inconclusive(Evidence::text(text).event(event.seq)));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("it was not started from a launcher that ignores signals"));
    }
    findings
}

/// Signals that a process ignores because its launcher did, as sentences.
fn inherited(clean: &DaemonPortrait, soiled: &DaemonPortrait) -> Vec<String> {
    let own_choice = |signal| clean.processes.iter().any(|process| process.ignored.has(signal));
    let of = |process: &ProcessPortrait| {
        let by_descriptor = blocks(process, HANGUP);
        let kept = [HANGUP, CHILD].into_iter().filter(|signal| process.ignored.has(*signal) && !own_choice(*signal));
        let pid = process.image.pid;
        kept.filter(|signal| *signal != HANGUP || !by_descriptor)
            .map(|signal| format!("pid {pid} ignores {signal}, as its launcher did; after a clean start none does"))
            .collect::<Vec<_>>()
    };
    soiled.processes.iter().flat_map(of).collect()
}

/// Processes that HUP would end, as sentences.
fn mortal(portrait: &DaemonPortrait) -> Vec<String> {
    let Some(main) = portrait.main() else { return vec!["the daemon is gone after its start".to_owned()] };
    let survives = main.ignored.has(HANGUP) || main.caught.has(HANGUP) || blocks(main, HANGUP);
    let text = format!("pid {} neither ignores nor handles HUP, which its launcher ignored", main.image.pid);
    if survives { Vec::new() } else { vec![text] }
}

/// Every thread of it blocks this signal.
fn blocks(process: &ProcessPortrait, signal: Signal) -> bool {
    !process.threads.is_empty() && process.threads.iter().all(|thread| thread.blocked.has(signal))
}

#[cfg(test)]
mod tests {
    use super::{CHILD, HANGUP};
    use crate::check::script::Script;
    use crate::event::{Answer, DaemonPortrait};
    use crate::scenario::Launcher;
    use crate::target::{Signal, SignalSet};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn set(signals: &[Signal]) -> SignalSet {
        signals.iter().copied().collect()
    }

    fn check(from: Launcher, own: &[Signal], change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        let script = Script::new().portrait(100, |portrait| portrait.processes[0].ignored = set(own));
        let script = script.portrait(150, |portrait| {
            portrait.launcher.from = from;
            change(portrait);
        });
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want, "{from:?} {own:?}");
    }

    #[test]
    fn who_resets_them_passes() {
        check(Launcher::IgnoredSignals, &[], |_| {}, Pass);
        check(Launcher::IgnoredSignals, &[], |it| it.processes[0].ignored = set(&[Signal(libc::SIGPIPE)]), Pass);
    }

    #[test]
    fn who_keeps_one_fails() {
        check(Launcher::IgnoredSignals, &[], |it| it.processes[0].ignored = set(&[HANGUP]), Fail);
        check(Launcher::IgnoredSignals, &[HANGUP], |it| it.processes[0].ignored = set(&[HANGUP, CHILD]), Fail);
    }

    #[test]
    fn the_daemons_own_choice_passes() {
        check(Launcher::IgnoredSignals, &[HANGUP], |it| it.processes[0].ignored = set(&[HANGUP]), Pass);
    }

    #[test]
    fn a_descriptor_hears_an_ignored_hangup_and_no_child() {
        let by_descriptor = |signal| {
            move |it: &mut DaemonPortrait| {
                it.processes[0].ignored = set(&[signal]);
                it.processes[0].threads[0].blocked = set(&[signal]);
            }
        };
        check(Launcher::IgnoredSignals, &[], by_descriptor(HANGUP), Pass);
        check(Launcher::IgnoredSignals, &[], by_descriptor(CHILD), Fail);
    }

    #[test]
    fn under_nohup_hangup_must_not_end_it() {
        check(Launcher::Nohup, &[], |it| it.processes[0].ignored = set(&[HANGUP]), Pass);
        check(Launcher::Nohup, &[], |it| it.processes[0].caught = set(&[HANGUP]), Pass);
        check(Launcher::Nohup, &[], |it| it.processes[0].threads[0].blocked = set(&[HANGUP]), Pass);
        check(Launcher::Nohup, &[], |_| {}, Fail);
    }

    #[test]
    fn without_both_starts_nothing_is_proven() {
        check(Launcher::Script, &[], |_| {}, Inconclusive);
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
        let script = Script::new().portrait(100, |_| {}).started_from(Launcher::Nohup, 1, Answer::Refused);
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Inconclusive);
    }
}
