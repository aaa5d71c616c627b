//! life/pid-one: as pid 1 the service ends when it is told to, and waits for orphans.

use crate::check::Check;
use crate::event::{Event, What};
use crate::history::History;
use crate::id::Pid;
use crate::scenario::Launcher;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "life/pid-one",
    level: Level::Should,
    profile: None,
    capability: None,
    requirement: "As pid 1 of a pid namespace the service still ends at its stop signal, and waits for the orphans that it is given.",
    source: "pid_namespaces(7): pid 1 gets no signal that it has no handler for, and becomes the parent of every orphan",
    reports: &["wazuh#38733"],
    observed: "The target is launched as pid 1 of a pid namespace of its own, with a `/proc` of it, as a container runtime does \
               without an init. A process is left there, whose parent has ended, and ends: it is looked at until it is gone, or \
               is still a zombie 1.5 s later. Then the declared stop.",
    needs: &[],
    observers: &["exits"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    if history.plan.scenario.script().launcher != Launcher::Container {
        return vec![Finding::inconclusive("it was not launched as pid 1")];
    }
    let mains = history.find(|what| if let What::Main { image } = what { Some(image.pid) } else { None });
    let Some((_, main)) = mains.last() else {
        return vec![Finding::inconclusive("as pid 1 it was never ready")];
    };
    let mut findings: Vec<Finding> = history
        .find(|what| match what {
            What::Orphaned { orphan, reaped, .. } => Some((orphan.pid, *reaped)),
            _ => None,
        })
        .map(|(event, (orphan, reaped))| of_orphan(event, main, orphan, reaped))
        .collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no orphan was left to it"));
    }
    findings.push(of_stop(history, main));
    findings
}

fn of_orphan(event: &Event, main: Pid, orphan: Pid, reaped: bool) -> Finding {
    let ms = event.at.not_after.since(event.at.not_before).as_millis();
    if reaped {
        let text = format!("process {main} was given the orphan {orphan}, and had waited for it {ms} ms after its end");
        return Finding::pass(Evidence::text(text).event(event.seq));
    }
    let text = format!("process {main} was given the orphan {orphan}, which was still a zombie {ms} ms after its end");
    Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time()
}

fn of_stop(history: &History, main: Pid) -> Finding {
    let asked = history.find(|what| if let What::StopAsked { action } = what { Some(action) } else { None });
    let Some((asked, action)) = asked.into_iter().next() else {
        return Finding::inconclusive("no stop was asked for");
    };
    let late = history.find(|what| match what {
        What::DeadlinePassed { name, length_ms } if name == "stop" => Some(*length_ms),
        _ => None,
    });
    if let Some((event, length_ms)) = late.into_iter().next() {
        let text = format!("{action}: as pid 1 the main process still lived {length_ms} ms later");
        return Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time();
    }
    let ended = history.find(move |what| matches!(what, What::Exited { pid, .. } if *pid == main).then_some(()));
    match ended.last() {
        Some((event, ())) if event.at.not_after >= asked.at.not_before => {
            Finding::pass(Evidence::text(format!("{action}: it ended as pid 1, too")).event(event.seq))
        }
        Some((event, ())) => {
            Finding::inconclusive(Evidence::text("it had ended before it was told to").event(event.seq))
        }
        None => Finding::inconclusive("the end of the main process was not seen"),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{ExitStatus, What};
    use crate::id::Pid;
    use crate::scenario::Launcher;
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn given(reaped: bool) -> Script {
        let what = What::Orphaned { orphan: image(9), adopter: image(7), reaped };
        Script::new().main(50, 7).spanning(60, if reaped { 61 } else { 1560 }, what)
    }

    fn told(script: Script) -> Script {
        script.event(2000, What::StopAsked { action: "signal TERM to main".to_owned() })
    }

    fn ended(script: Script, at: u64) -> Script {
        script.event(at, What::Exited { pid: Pid(7), status: ExitStatus::Code(0) })
    }

    fn check(script: Script, launcher: Launcher, want: Verdict) {
        let mut history = script.history();
        history.plan.scenario.0.launcher = launcher;
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
        assert!(findings.iter().all(|it| it.verdict != Fail || it.ground == Ground::Time), "{findings:#?}");
    }

    #[test]
    fn an_orphan_waited_for_and_an_end_when_told_pass() {
        check(ended(told(given(true)), 2100), Launcher::Container, Pass);
    }

    #[test]
    fn a_zombie_fails() {
        check(ended(told(given(false)), 2100), Launcher::Container, Fail);
    }

    #[test]
    fn a_stop_signal_without_effect_fails() {
        let late = What::DeadlinePassed { name: "stop".to_owned(), length_ms: 1000 };
        check(told(given(true)).event(3000, late), Launcher::Container, Fail);
    }

    #[test]
    fn what_is_missing_proves_nothing() {
        check(ended(told(given(true)), 2100), Launcher::Clean, Inconclusive);
        check(ended(told(Script::new().main(50, 7)), 2100), Launcher::Container, Inconclusive);
        check(told(given(true)), Launcher::Container, Inconclusive);
        check(told(ended(given(true), 1900)), Launcher::Container, Inconclusive);
        check(Script::new(), Launcher::Container, Inconclusive);
    }
}
