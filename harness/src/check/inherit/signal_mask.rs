//! inherit/signal-mask: what the launcher blocks is not blocked in the daemon.

use std::collections::BTreeSet;

use crate::check::Check;
use crate::check::daemon::{finding, portrait_from, start_from, unless};
use crate::event::DaemonPortrait;
use crate::history::History;
use crate::manifest::Profile;
use crate::scenario::Launcher;
use crate::target::SignalSet;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/signal-mask",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "A daemon whose launcher blocks TERM, HUP, USR1, USR2 and CHLD has the signal masks that it has from a clean \
                  launcher, and the declared stop ends it.",
    source: "sigprocmask(2): a mask is preserved across fork(2) and execve(2); daemon(7), \"SysV Daemons\", step 4",
    reports: &["procServ#48", "knsd/daemonize"],
    observed: "`SigBlk` in `/proc/PID/task/TID/status` of every thread at rest after the start, from a clean launcher and from one \
               with those signals blocked, no shell in between. The main thread must block the same signals, any other thread \
               what some thread blocks after a clean start. Then the declared stop, within its deadline.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let Some((_, clean)) = portrait_from(history, Launcher::Clean) else {
        return vec![Finding::inconclusive("no daemon came to rest after a start from a clean launcher")];
    };
    let mut findings = Vec::new();
    if let Some((event, soiled)) = portrait_from(history, Launcher::BlockedSignals) {
        let judged = unless(differences(clean, soiled), "every thread has the mask of a clean start");
        findings.push(finding(event, judged));
    }
    if let Some((event, start)) = start_from(history, Launcher::BlockedSignals) {
        let evidence = |text: &str| Evidence::text(text).event(event.seq);
        findings.push(match start.stopped {
            Some(true) => Finding::pass(evidence("the declared stop ended it")),
            Some(false) => {
                Finding::fail(vec![evidence("the declared stop did not end it within its deadline")]).on_time()
            }
            None => Finding::fail(vec![evidence("it did not start from a launcher that blocks signals")]).on_time(),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("it was not started from a launcher that blocks signals"));
    }
    findings
}

/// Threads that block something else than after a clean start, as sentences.
fn differences(clean: &DaemonPortrait, soiled: &DaemonPortrait) -> Vec<String> {
    let usual: BTreeSet<SignalSet> =
        clean.processes.iter().flat_map(|process| &process.threads).map(|thread| thread.blocked).collect();
    let main = main_thread(clean);
    let mut wrong = Vec::new();
    for process in &soiled.processes {
        for thread in &process.threads {
            let is_main = process.image == soiled.main && thread.tid == process.image.pid;
            let right = if is_main { main == Some(thread.blocked) } else { usual.contains(&thread.blocked) };
            if !right {
                let (pid, tid) = (process.image.pid, thread.tid);
                let instead = match main.filter(|_| is_main) {
                    Some(main) => format!("after a clean start: {main}"),
                    None => "no thread does after a clean start".to_owned(),
                };
                wrong.push(format!("thread {tid} of pid {pid} blocks {}; {instead}", thread.blocked));
            }
        }
    }
    wrong
}

fn main_thread(portrait: &DaemonPortrait) -> Option<SignalSet> {
    let main = portrait.main()?;
    main.threads.iter().find(|thread| thread.tid == main.image.pid).map(|thread| thread.blocked)
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, DaemonPortrait, StartFrom, ThreadPortrait, What};
    use crate::history::History;
    use crate::id::Pid;
    use crate::scenario::Launcher;
    use crate::target::SignalSet;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    const HANGUP: SignalSet = SignalSet(1);
    const FROM: Launcher = Launcher::BlockedSignals;

    fn worst(history: &History) -> Option<Verdict> {
        (super::CHECK.decide)(history).into_iter().map(|it| it.verdict).max()
    }

    fn check(clean: &[SignalSet], soiled: &[SignalSet], want: Verdict) {
        let with = |portrait: &mut DaemonPortrait, masks: &[SignalSet]| {
            let thread = |(n, blocked): (i32, &SignalSet)| ThreadPortrait { tid: Pid(7 + n), blocked: *blocked };
            portrait.processes[0].threads = (0..).zip(masks).map(thread).collect();
        };
        let script = Script::new().portrait(100, |portrait| with(portrait, clean)).portrait(150, |portrait| {
            portrait.launcher.from = FROM;
            with(portrait, soiled);
        });
        let history = script.started_from(FROM, 0, Answer::Answered).history();
        assert_eq!(worst(&history), Some(want), "{clean:?} {soiled:?}");
    }

    #[test]
    fn the_masks_of_a_clean_start_pass() {
        let none = SignalSet::default();
        check(&[none], &[none], Pass);
        check(&[HANGUP, none], &[HANGUP, none, none], Pass);
    }

    #[test]
    fn another_mask_fails_in_whatever_thread() {
        let none = SignalSet::default();
        check(&[none], &[HANGUP], Fail);
        check(&[none, HANGUP], &[HANGUP, HANGUP], Fail);
        check(&[none, none], &[none, HANGUP], Fail);
    }

    #[test]
    fn a_stop_that_does_not_work_and_a_start_that_fails_fail() {
        for (answer, stopped) in [(Answer::Answered, Some(false)), (Answer::Refused, None)] {
            let start = StartFrom { from: FROM, status: None, answer, stopped };
            let history = Script::new().portrait(100, |_| {}).event(200, What::StartedFrom(start)).history();
            assert_eq!(worst(&history), Some(Fail));
        }
    }

    #[test]
    fn without_both_starts_nothing_is_proven() {
        assert_eq!(worst(&Script::new().history()), Some(Inconclusive));
        assert_eq!(worst(&Script::new().portrait(100, |_| {}).history()), Some(Inconclusive));
    }
}
