//! inherit/exit-code-under-sigchld-ignore: a launcher that cannot wait for its children still tells the truth.

use crate::check::Check;
use crate::check::daemon::{returns, start_from};
use crate::event::{Answer, ExitStatus, LauncherReturn, Occasion, StartFrom};
use crate::history::History;
use crate::manifest::Profile;
use crate::scenario::Launcher;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/exit-code-under-sigchld-ignore",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "With SIGCHLD ignored the launcher exits with 0 when the daemon is up, and with another status when it is not.",
    source: "wait(2): with SIGCHLD set to SIG_IGN it fails with ECHILD; execve(2): ignored signals stay ignored",
    reports: &["knsd/daemonize"],
    observed: "The launcher's exit status and the answer to a request after a start with HUP and CHLD ignored, no shell in between; \
               and the status of such a start while the harness itself listens on the daemon's address.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

const FROM: Launcher = Launcher::IgnoredSignals;

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((event, start)) = start_from(history, FROM) {
        findings.push(of_start(start, |text| Evidence::text(text).event(event.seq)));
    }
    let busy = returns(history, Occasion::AddressBusy).filter(|(_, it)| it.from == FROM);
    findings.extend(busy.map(|(event, it)| of_failure(it, |text| Evidence::text(text).event(event.seq))));
    if findings.is_empty() {
        findings.push(Finding::inconclusive("it was not started with SIGCHLD ignored"));
    }
    findings
}

fn of_start(start: &StartFrom, evidence: impl Fn(String) -> Evidence) -> Finding {
    let fail = |text: String| Finding::fail(vec![evidence(text)]);
    match (start.status, &start.answer) {
        (None, _) => fail("the launcher had not returned by the start deadline".to_owned()).on_time(),
        (Some(ExitStatus::Unknown), _) => Finding::inconclusive("how the launcher ended is not known"),
        (Some(ExitStatus::Signal(signal)), _) => fail(format!("signal {signal} ended the launcher")),
        (Some(ExitStatus::Code(0)), Answer::Answered) => {
            Finding::pass(evidence("the launcher exited with 0, and the daemon answers".to_owned()))
        }
        (Some(ExitStatus::Code(code)), Answer::Answered) => {
            fail(format!("the launcher exited with {code}, and the daemon answers"))
        }
        (Some(ExitStatus::Code(0)), Answer::Refused) => {
            fail("the launcher exited with 0, and nobody listens".to_owned())
        }
        (Some(ExitStatus::Code(0)), Answer::Missing(why)) => {
            fail(format!("the launcher exited with 0, and nobody answers: {why}")).on_time()
        }
        (Some(ExitStatus::Code(code)), _) => {
            Finding::inconclusive(evidence(format!("it did not start, and its launcher exited with {code}")))
        }
    }
}

/// Of a start that had to fail.
fn of_failure(returned: &LauncherReturn, evidence: impl Fn(String) -> Evidence) -> Finding {
    let fail = |text: String| Finding::fail(vec![evidence(text)]);
    match returned.status {
        ExitStatus::Code(0) => fail("the address was taken, and the launcher exited with 0".to_owned()),
        ExitStatus::Code(code) => Finding::pass(evidence(format!("the address was taken, and it exited with {code}"))),
        ExitStatus::Signal(signal) => fail(format!("the address was taken, and signal {signal} ended the launcher")),
        ExitStatus::Unknown => Finding::inconclusive("how the launcher ended is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::FROM;
    use crate::check::script::Script;
    use crate::event::{Answer, ExitStatus, LauncherReturn, Occasion, What};
    use crate::id::Pid;
    use crate::scenario::Launcher;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn worst(script: Script) -> Verdict {
        let findings = (super::CHECK.decide)(&script.history());
        findings.into_iter().map(|it| it.verdict).max().expect("there is always one")
    }

    fn check(status: i32, answer: Answer, want: Verdict) {
        assert_eq!(worst(Script::new().started_from(FROM, status, answer)), want, "{status}");
    }

    fn check_busy(from: Launcher, status: i32, want: Verdict) {
        let answer = Answer::Missing("the harness listens there".to_owned());
        let (occasion, status) = (Occasion::AddressBusy, ExitStatus::Code(status));
        let it = LauncherReturn { occasion, from, closed: false, pid: Pid(5), status, pidfile: None, answer };
        let script = Script::new().started_from(FROM, 0, Answer::Answered);
        assert_eq!(worst(script.event(100, What::LauncherReturned(it))), want, "{from:?} {status:?}");
    }

    #[test]
    fn zero_for_a_daemon_that_answers_passes() {
        check(0, Answer::Answered, Pass);
    }

    #[test]
    fn a_status_that_lies_fails() {
        check(1, Answer::Answered, Fail);
        check(0, Answer::Refused, Fail);
        check(0, Answer::Missing("no answer".to_owned()), Fail);
    }

    #[test]
    fn a_start_that_fails_and_says_so_proves_nothing() {
        check(1, Answer::Refused, Inconclusive);
        assert_eq!(worst(Script::new()), Inconclusive);
    }

    #[test]
    fn a_start_that_has_to_fail_must_say_so() {
        check_busy(FROM, 1, Pass);
        check_busy(FROM, 0, Fail);
        check_busy(Launcher::Clean, 0, Pass);
    }
}
