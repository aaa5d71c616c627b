//! life/term-clean: the declared stop ends the service, and cleanly.

use crate::check::Check;
use crate::event::{Event, ExitStatus, What};
use crate::history::History;
use crate::target::{Signal, TargetStop};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "life/term-clean",
    level: Level::Must,
    profile: None,
    capability: None,
    requirement: "The declared stop ends the main process within its deadline, with status 0 or by that very signal.",
    source: "daemon(7); signal(7)",
    reports: &["daemon(7)"],
    observed: "The exit status of the main process as its reaper told, after a stop while it was idle; in another run after \
               SIGSTOP and SIGCONT, and then of a process that got its stop signal while it was held in its listen(2). A \
               target that stops by a command is not stopped so early.",
    needs: &[],
    observers: &["exits"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let asked: Vec<(&Event, &str)> =
        history.find(|what| if let What::StopAsked { action } = what { Some(action.as_str()) } else { None }).collect();
    if asked.is_empty() {
        return vec![Finding::inconclusive("no stop was asked for")];
    }
    let ends = asked.iter().skip(1).map(|(next, _)| next.seq).chain([u64::MAX]);
    let stops = asked.iter().zip(ends);
    let findings: Vec<Finding> =
        stops.filter_map(|((asked, action), end)| judge(history, asked, action, end)).collect();
    let none = "the main process had ended before the stop";
    if findings.is_empty() { vec![Finding::inconclusive(none)] } else { findings }
}

/// One stop, as far as to the next one. `None` when there was nobody any more to be stopped.
fn judge(history: &History, asked: &Event, action: &str, end: u64) -> Option<Finding> {
    let until_next = |event: &Event| asked.seq < event.seq && event.seq < end;
    let mut late = history.find(|what| match what {
        What::DeadlinePassed { name, length_ms } if name == "stop" => Some(*length_ms),
        _ => None,
    });
    if let Some((event, length_ms)) = late.find(|(event, _)| until_next(event)) {
        let text = format!("{action}: the main process still lived {length_ms} ms later");
        return Some(Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time());
    }
    let mains = history.find(|what| if let What::Main { image } = what { Some(image.pid) } else { None });
    let Some((_, main)) = mains.filter(|(event, _)| event.seq < asked.seq).last() else {
        return Some(Finding::inconclusive("no main process was known"));
    };
    let ended = history.find(|what| match what {
        What::Exited { pid, status } if *pid == main => Some(*status),
        _ => None,
    });
    // A pidfd tells of the end, the reaper of the status: the last word counts.
    let Some((event, status)) = ended.filter(|(event, _)| event.seq < end).last() else {
        return Some(Finding::inconclusive("the end of the main process was not seen"));
    };
    (event.at.not_after >= asked.at.not_before).then(|| of_status(history, event, action, status))
}

fn of_status(history: &History, event: &Event, action: &str, status: ExitStatus) -> Finding {
    let stop = match &history.plan.target.stop {
        TargetStop::Signal(signal) => Some(signal.0),
        TargetStop::Command(_) => None,
    };
    let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
    match status {
        ExitStatus::Code(0) => {
            Finding::pass(Evidence::text(format!("{action}: it ended with status 0")).event(event.seq))
        }
        ExitStatus::Signal(number) if stop.is_none_or(|stop| stop == number) => {
            let text = format!("{action}: SIG{} ended it; status 0 would be better", Signal(number));
            Finding::pass(Evidence::text(text).event(event.seq))
        }
        ExitStatus::Code(code) => fail(format!("{action}: it ended with status {code}")),
        ExitStatus::Signal(number) => fail(format!("{action}: SIG{} killed it", Signal(number))),
        ExitStatus::Unknown => Finding::inconclusive("how it ended is not known: its parent did not tell"),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{ExitStatus, What};
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn asked() -> What {
        What::StopAsked { action: "signal TERM to main".to_owned() }
    }

    fn check(statuses: &[ExitStatus], want: Verdict) {
        let script = Script::new().main(50, 7).event(100, asked());
        let exits = statuses.iter().map(|status| What::Exited { pid: Pid(7), status: *status });
        let history = exits.fold(script, |script, what| script.event(120, what)).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want, "{statuses:?}");
    }

    #[test]
    fn status_0_and_the_stop_signal_itself_pass() {
        check(&[ExitStatus::Code(0)], Pass);
        check(&[ExitStatus::Signal(15)], Pass);
        check(&[ExitStatus::Unknown, ExitStatus::Code(0)], Pass);
    }

    #[test]
    fn another_status_or_signal_fails() {
        check(&[ExitStatus::Code(1)], Fail);
        check(&[ExitStatus::Signal(11)], Fail);
    }

    #[test]
    fn an_unknown_end_proves_nothing() {
        check(&[ExitStatus::Unknown], Inconclusive);
        check(&[], Inconclusive);
    }

    #[test]
    fn a_main_process_that_outlives_the_deadline_fails() {
        let late = What::DeadlinePassed { name: "stop".to_owned(), length_ms: 1000 };
        let history = Script::new().main(50, 7).event(100, asked()).event(110, late).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Fail);
    }

    #[test]
    fn each_stop_is_judged_by_the_end_of_its_own_process() {
        let exit = |pid, code| What::Exited { pid: Pid(pid), status: ExitStatus::Code(code) };
        let first = Script::new().main(50, 7).event(100, asked()).event(120, exit(7, 0));
        let both = first.main(150, 9).event(200, asked()).event(220, exit(9, 1));
        let verdicts: Vec<Verdict> = (super::CHECK.decide)(&both.history()).iter().map(|it| it.verdict).collect();
        assert_eq!(verdicts, [Pass, Fail]);
    }
}
