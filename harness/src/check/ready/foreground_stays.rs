//! ready/foreground-stays: a foreground service never forks away.

use std::collections::BTreeSet;

use crate::check::Check;
use crate::event::{Event, ExitStatus, Phase, ProcessChange, What};
use crate::history::History;
use crate::id::Pid;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/foreground-stays",
    level: Level::Must,
    profile: Some(Profile::Foreground),
    capability: None,
    requirement: "A service that runs in the foreground never forks away: the process that was launched stays, and who serves \
                  descends from it.",
    source: "daemon(7), \"New-Style Daemons\"; systemd.service(5), Type=exec; supervisord, \"Nondaemonizing of Subprocesses\"",
    reports: &["Supervisor#891"],
    observed: "The end of the launched process (its reaper) before the first signal of the run; once it is ready, the processes that \
               hold the listener and their ancestors (/proc).",
    needs: &[],
    observers: &["exits"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let starts = history.events.iter().filter(|event| matches!(event.what, What::Phase(Phase::Start)));
    let findings: Vec<Finding> = starts.filter_map(|start| judge(&history.events[index(history, start)..])).collect();
    if findings.is_empty() { vec![Finding::inconclusive("nothing that was launched worked")] } else { findings }
}

fn index(history: &History, event: &Event) -> usize {
    history.events.iter().position(|it| it.seq == event.seq).expect("it is one of them")
}

/// One start: `events` begin with it. `None` when what was launched failed.
fn judge(events: &[Event]) -> Option<Finding> {
    // From a signal on, an end has another reason.
    let ends = |event: &&Event| {
        let signalled = matches!(event.what, What::StopAsked { .. } | What::HupSent { .. } | What::ReloadAsked);
        signalled || matches!(event.what, What::Triggered { .. } | What::Phase(Phase::Trigger))
    };
    let length = events.iter().position(|event| ends(&event)).unwrap_or(events.len());
    let (events, after) = events.split_at(length);
    let launched = events.iter().find_map(|event| match event.what {
        What::Launched { pid, .. } => Some((event, pid)),
        _ => None,
    });
    let Some((launch, pid)) = launched else { return Some(Finding::inconclusive("nothing was launched")) };
    // Who reports an end may do so a moment later than it was.
    let signal = after.first().map(|event| event.at.not_before);
    let in_time = |event: &&Event| signal.is_none_or(|signal| event.at.not_after < signal);
    let ended = events.iter().chain(after).filter(in_time).find_map(|event| match event.what {
        What::Exited { pid: it, status } if it == pid && status != ExitStatus::Unknown => Some((event, status)),
        _ => None,
    });
    match ended {
        Some((event, ExitStatus::Code(0))) => {
            let text = format!("the launched process {pid} ended with status 0{}", left_behind(events, pid));
            Some(Finding::fail(vec![Evidence::text(text).event(launch.seq).event(event.seq)]))
        }
        Some(_) => None,
        None => Some(who_serves(events, launch, pid)),
    }
}

/// Of a launched process that stayed.
fn who_serves(events: &[Event], launch: &Event, pid: Pid) -> Finding {
    let serving = events.iter().find_map(|event| match &event.what {
        What::Serving { holders, strays, .. } if !holders.is_empty() => Some((event, strays)),
        _ => None,
    });
    let Some((event, strays)) = serving else { return Finding::inconclusive("who served was not seen") };
    match strays.first() {
        Some(image) => {
            let text = format!("process {} holds the listener, and does not descend from {pid}", image.pid);
            Finding::fail(vec![Evidence::text(text).event(launch.seq).event(event.seq)])
        }
        None => {
            let text = format!("process {pid} stayed, and who serves descends from it");
            Finding::pass(Evidence::text(text).event(launch.seq).event(event.seq))
        }
    }
}

/// Processes that were seen and not seen to end, for the sentence.
fn left_behind(events: &[Event], launched: Pid) -> String {
    let mut living: BTreeSet<Pid> = BTreeSet::new();
    for event in events {
        match &event.what {
            What::Process { image, change: ProcessChange::Appeared { .. } } => living.extend([image.pid]),
            What::Process { image, change: ProcessChange::Gone } => living.retain(|pid| *pid != image.pid),
            _ => {}
        }
    }
    living.remove(&launched);
    match living.first() {
        Some(pid) => format!(", and process {pid} went on"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, image};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn launched() -> Script {
        Script::new()
            .event(1, What::Phase(Phase::Start))
            .event(2, What::Launched { pid: Pid(5), command: vec!["server".to_owned()] })
            .appeared(3, 5, 1)
    }

    fn ready(script: Script, strays: &[i32]) -> Script {
        let strays = strays.iter().map(|pid| image(*pid)).collect();
        let serving = What::Serving { launched: Pid(5), holders: vec![image(6)], strays };
        script.event(10, What::Ready { by: "answers".to_owned() }).event(11, serving)
    }

    fn stopped(script: Script) -> Script {
        script.event(50, What::StopAsked { action: "signal TERM to main".to_owned() }).exited(60, 5)
    }

    fn check(script: Script, want: Verdict) {
        assert_eq!((CHECK.decide)(&script.history())[0].verdict, want);
    }

    #[test]
    fn one_that_stays_until_the_stop_passes() {
        check(stopped(ready(launched(), &[])), Pass);
    }

    #[test]
    fn one_that_ends_with_success_and_leaves_another_one_fails() {
        check(launched().appeared(4, 6, 5).exited(5, 5), Fail);
        check(stopped(ready(launched(), &[]).exited(20, 5)), Fail);
    }

    #[test]
    fn one_that_stays_while_an_orphan_serves_fails() {
        check(stopped(ready(launched(), &[6])), Fail);
    }

    #[test]
    fn one_that_fails_to_start_has_not_forked_away() {
        let failed = What::Exited { pid: Pid(5), status: ExitStatus::Code(1) };
        check(launched().event(5, failed), Inconclusive);
        check(launched(), Inconclusive);
        check(Script::new(), Inconclusive);
    }
}
