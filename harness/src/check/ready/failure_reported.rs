//! ready/failure-reported: a start that fails says so.

use crate::check::Check;
use crate::check::daemon::returns;
use crate::event::{Event, ExitStatus, LauncherReturn, Occasion, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/failure-reported",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "When the daemon cannot start, its launcher exits with another status than 0 and gives the reason on standard error.",
    source: "daemon(7), \"SysV Daemons\"",
    reports: &["carbon-c-relay#265", "pdns#1709"],
    observed: "A launch while the harness itself listens on the daemon's address, and one while a directory stands where its \
               pidfile belongs: each time the launcher's exit status, and what it wrote to standard error.",
    needs: &[],
    observers: &["output"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = one(history, Occasion::AddressBusy, "the address was taken");
    findings.extend(one(history, Occasion::PidfileBlocked, "the pidfile could not be written"));
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no start was made to fail"));
    }
    findings
}

fn one(history: &History, occasion: Occasion, cause: &str) -> Vec<Finding> {
    let stream = format!("{}stderr", occasion.prefix());
    let said = history.find(|what| match what {
        What::Output { stream: it, line } if *it == stream && !line.trim().is_empty() => Some(line),
        _ => None,
    });
    let said = said.into_iter().next();
    let judge = |(event, seen): (&Event, &LauncherReturn)| {
        let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
        match (seen.status, &said) {
            (ExitStatus::Code(0), _) => fail(format!("{cause}, and the launcher exited with 0")),
            (ExitStatus::Signal(signal), _) => fail(format!("{cause}, and signal {signal} killed the launcher")),
            (ExitStatus::Unknown, _) => Finding::inconclusive("how the launcher ended is not known"),
            (ExitStatus::Code(code), None) => {
                fail(format!("{cause}, and it exited with {code} and said nothing on standard error"))
            }
            (ExitStatus::Code(code), Some((line, text))) => {
                let text = format!("{cause}: it exited with {code} and said: {text}");
                Finding::pass(Evidence::text(text).event(event.seq).event(line.seq))
            }
        }
    };
    let late = history.find(|what| match what {
        What::DeadlinePassed { name, length_ms } if name == occasion.deadline() => Some(*length_ms),
        _ => None,
    });
    let late = late.map(|(event, length_ms)| {
        let text = format!("{cause}, and the launcher had not returned after {length_ms} ms");
        Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time()
    });
    returns(history, occasion).map(judge).chain(late).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, ExitStatus, LauncherReturn, Occasion, What};
    use crate::id::Pid;
    use crate::scenario::Launcher;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(status: ExitStatus, said: Option<&str>, want: Verdict) {
        let answer = Answer::Missing("the harness listens there".to_owned());
        let (occasion, from) = (Occasion::AddressBusy, Launcher::Clean);
        let returned = LauncherReturn { occasion, from, closed: false, pid: Pid(5), status, pidfile: None, answer };
        let mut script = Script::new().event(50, What::LauncherReturned(returned));
        if let Some(line) = said {
            let (stream, line) = ("busy-start.stderr".to_owned(), line.to_owned());
            script = script.event(60, What::Output { stream, line });
        }
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want, "{said:?}");
    }

    #[test]
    fn a_status_and_a_reason_pass() {
        check(ExitStatus::Code(1), Some("address in use"), Pass);
    }

    #[test]
    fn a_status_or_a_reason_alone_fails() {
        check(ExitStatus::Code(0), Some("address in use"), Fail);
        check(ExitStatus::Code(1), None, Fail);
        check(ExitStatus::Code(1), Some("  "), Fail);
        check(ExitStatus::Signal(6), Some("address in use"), Fail);
    }

    #[test]
    fn a_pidfile_that_cannot_be_written_is_no_better_an_excuse() {
        let answer = Answer::Answered;
        let (occasion, from, status) = (Occasion::PidfileBlocked, Launcher::Clean, ExitStatus::Code(0));
        let returned = LauncherReturn { occasion, from, closed: false, pid: Pid(5), status, pidfile: None, answer };
        let history = Script::new().event(50, What::LauncherReturned(returned)).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Fail);
    }

    #[test]
    fn a_launcher_that_never_returns_fails_though_another_start_was_reported() {
        let late = What::DeadlinePassed { name: Occasion::PidfileBlocked.deadline().to_owned(), length_ms: 1000 };
        let (occasion, answer) = (Occasion::AddressBusy, Answer::Missing("the harness listens there".to_owned()));
        let (from, status) = (Launcher::Clean, ExitStatus::Code(1));
        let returned = LauncherReturn { occasion, from, closed: false, pid: Pid(5), status, pidfile: None, answer };
        let said = What::Output { stream: "busy-start.stderr".to_owned(), line: "address in use".to_owned() };
        let script = Script::new().event(50, What::LauncherReturned(returned)).event(60, said).event(900, late);
        let verdicts: Vec<Verdict> = (super::CHECK.decide)(&script.history()).iter().map(|it| it.verdict).collect();
        assert_eq!(verdicts, [Pass, Fail]);
    }

    #[test]
    fn without_a_failed_start_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }
}
