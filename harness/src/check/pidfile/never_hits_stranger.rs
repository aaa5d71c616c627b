//! pidfile/never-hits-stranger: a number in a file is not yet the daemon.

use crate::check::Check;
use crate::check::daemon::shown;
use crate::event::{CommandedStop, Event, ExitStatus, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/never-hits-stranger",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::StopCommand),
    requirement: "The stop command signals the daemon or nobody: not a process that has the daemon's number by now, not a process \
                  group (0, -N), not the init (1), and not whom the digits before a letter name (12x). It ends by itself.",
    source: "kill(2): 0, -1 and -N are groups and everybody; pidfd_open(2), flock(2)",
    reports: &["thuehlinger/daemons#30", "CVE-2017-11747"],
    observed: "The command stops the daemon once. After that it is run with each of the five in the pidfile: whether a process of the \
               harness's own, which the content names if it names anybody, sleeps on as before, and how the command ended; by a signal, \
               it has hit its own group. Whether it reports success is not judged. An init is not hurt by a signal that it does not \
               handle; that one was sent is not seen.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let late = |what: &What| matches!(what, What::DeadlinePassed { name, .. } if name == "stop");
    if history.events.iter().any(|event| late(&event.what)) {
        return vec![Finding::inconclusive("the stop command does not even stop its own daemon")];
    }
    let stops = history.find(|what| if let What::CommandedStop(it) = what { Some(it) } else { None });
    let findings: Vec<Finding> = stops.map(|(event, stop)| one(event, stop)).collect();
    if findings.is_empty() {
        vec![Finding::inconclusive("the stop command was given no number of a stranger")]
    } else {
        findings
    }
}

fn one(event: &Event, stop: &CommandedStop) -> Finding {
    let evidence = |text: String| Evidence::text(text).event(event.seq);
    let lay = format!("{} lay there", shown(&stop.content));
    if !stop.unharmed {
        let text = format!("{lay}, and pid {}, which has nothing to do with it, was signalled", stop.bystander);
        return Finding::fail(vec![evidence(text)]);
    }
    match stop.status {
        Some(ExitStatus::Signal(signal)) => {
            Finding::fail(vec![evidence(format!("{lay}, and the command itself was killed by signal {signal}"))])
        }
        Some(ExitStatus::Code(code)) => {
            Finding::pass(evidence(format!("{lay}: status {code}, and pid {} was left alone", stop.bystander)))
        }
        Some(ExitStatus::Unknown) => Finding::inconclusive("how the command ended is not known"),
        None => Finding::fail(vec![evidence(format!("{lay}, and the command did not end in time"))]).on_time(),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{CommandedStop, ExitStatus, Stranger, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn judge(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    fn check(stranger: Stranger, change: impl FnOnce(&mut CommandedStop), want: Verdict) {
        judge(Script::new().commanded_stop(stranger, change), want);
    }

    #[test]
    fn a_command_that_leaves_everybody_alone_passes_whatever_it_reports() {
        for stranger in Stranger::ALL {
            check(stranger, |_| {}, Pass);
            check(stranger, |stop| stop.status = Some(ExitStatus::Code(1)), Pass);
        }
    }

    #[test]
    fn a_bystander_that_was_signalled_fails() {
        check(Stranger::Reused, |stop| stop.unharmed = false, Fail);
        check(Stranger::Tail, |stop| (stop.unharmed, stop.status) = (false, None), Fail);
    }

    #[test]
    fn a_command_that_hits_its_own_group_fails() {
        check(Stranger::Zero, |stop| stop.status = Some(ExitStatus::Signal(15)), Fail);
    }

    #[test]
    fn a_command_that_hangs_fails_by_time() {
        let history = Script::new().commanded_stop(Stranger::One, |stop| stop.status = None).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!((findings[0].verdict, findings[0].ground), (Fail, crate::verdict::Ground::Time));
    }

    #[test]
    fn a_command_that_stops_nobody_proves_nothing() {
        judge(Script::new(), Inconclusive);
        let late = What::DeadlinePassed { name: "stop".to_owned(), length_ms: 10 };
        judge(Script::new().event(200, late).commanded_stop(Stranger::Reused, |_| {}), Inconclusive);
    }
}
