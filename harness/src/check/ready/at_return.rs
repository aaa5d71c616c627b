//! ready/at-return: when the launcher exits 0, the service is there.

use crate::check::Check;
use crate::check::daemon::{held, returns};
use crate::event::{Answer, ExitStatus, Occasion, StartupCall};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/at-return",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "When the launcher exits with 0, a connect succeeds and is answered.",
    source: "daemon(7), \"SysV Daemons\"",
    reports: &["AwaLWM2M#178"],
    observed: "One request on a fresh connection, begun when the launcher's pidfd becomes readable. In one scenario the daemon is \
               held in its listen(2) (seccomp_unotify(2)), until the launcher has returned, which is the failure if it was \
               with 0, or has stood still for 500 ms and five times what the start had taken. The launcher's own calls are \
               never held.",
    needs: &[],
    observers: &["adversary"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (event, seen) in returns(history, Occasion::Start).filter(|(_, it)| it.status == ExitStatus::Code(0)) {
        let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
        findings.push(match &seen.answer {
            Answer::Answered => Finding::pass(Evidence::text("the first request was answered").event(event.seq)),
            Answer::Refused => fail("the launcher exited with 0, and the next connect was refused".to_owned()),
            Answer::Missing(why) => {
                fail(format!("the launcher exited with 0, and the next request was not answered: {why}")).on_time()
            }
        });
    }
    findings.extend(held(history, |call| matches!(call, StartupCall::Listen(_))));
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no launcher returned with 0"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, Released, StartupCall};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(status: i32, answer: Answer, want: Verdict) {
        let history = Script::new().returned(50, status, None, answer).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
    }

    #[test]
    fn an_answer_passes() {
        check(0, Answer::Answered, Pass);
    }

    #[test]
    fn a_promise_without_a_service_fails() {
        check(0, Answer::Refused, Fail);
        check(0, Answer::Missing("no answer within the limit".to_owned()), Fail);
    }

    #[test]
    fn a_launcher_that_failed_promised_nothing() {
        check(1, Answer::Refused, Inconclusive);
    }

    #[test]
    fn a_launcher_that_returns_before_the_daemon_listens_fails_however_fast_the_daemon_is() {
        for (released, want) in [(Released::LauncherReturned, Fail), (Released::LauncherWaited, Pass)] {
            let script = Script::new().held(StartupCall::Listen("127.0.0.1:10099".to_owned()), released);
            let history = script.returned(50, 0, None, Answer::Answered).history();
            let worst = (super::CHECK.decide)(&history).into_iter().map(|it| it.verdict).max();
            assert_eq!(worst, Some(want));
        }
    }
}
