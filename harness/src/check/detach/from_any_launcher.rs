//! detach/from-any-launcher: the daemon starts, whatever it is launched from.

use crate::check::Check;
use crate::event::{Answer, ExitStatus, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::scenario::Launcher;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "detach/from-any-launcher",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon starts when its launcher leads a session, a process group or neither, under nohup(1), in a directory \
                  that was removed, and as a child of pid 1.",
    source: "setsid(2), EPERM; getcwd(3), ENOENT; daemon(7), \"SysV Daemons\"",
    reports: &["firecracker#4259"],
    observed: "After a start from a launcher that leads a session, one start from each other launcher, until a request is answered \
               or the start deadline has passed. As a child of pid 1 it is launched by whoever adopts orphans; everywhere else a \
               process stands between.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// The launchers in question, beside the usual one, which leads a session.
const LAUNCHERS: [Launcher; 5] =
    [Launcher::GroupLeader, Launcher::Script, Launcher::Nohup, Launcher::RemovedDirectory, Launcher::ChildOfInit];

fn decide(history: &History) -> Vec<Finding> {
    let starts = history.find(|what| match what {
        What::StartedFrom(it) if LAUNCHERS.contains(&it.from) => Some(it),
        _ => None,
    });
    let mut findings: Vec<Finding> = starts
        .map(|(event, start)| {
            let from = start.from.word();
            let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
            match (start.status, &start.answer) {
                (None, _) => fail(format!("{from}: the launcher had not returned by the start deadline")).on_time(),
                (Some(ExitStatus::Code(0)), Answer::Answered) => {
                    Finding::pass(Evidence::text(format!("{from}: it answers")).event(event.seq))
                }
                (Some(status), Answer::Answered) => fail(format!("{from}: it answers, and {}", ended(status))),
                (Some(status), Answer::Refused) => fail(format!("{from}: nobody listens, and {}", ended(status))),
                (Some(status), Answer::Missing(why)) => {
                    fail(format!("{from}: no answer ({why}), and {}", ended(status))).on_time()
                }
            }
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("it was started from no other launcher"));
    }
    findings
}

fn ended(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("the launcher exited with {code}"),
        ExitStatus::Signal(signal) => format!("signal {signal} ended the launcher"),
        ExitStatus::Unknown => "how the launcher ended is not known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, StartFrom, What};
    use crate::scenario::Launcher;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(from: Launcher, status: i32, answer: Answer, want: Verdict) {
        let history = Script::new().started_from(from, status, answer).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want, "{from:?}");
    }

    #[test]
    fn who_answers_passes() {
        check(Launcher::GroupLeader, 0, Answer::Answered, Pass);
        check(Launcher::ChildOfInit, 0, Answer::Answered, Pass);
    }

    #[test]
    fn who_does_not_start_fails() {
        check(Launcher::RemovedDirectory, 1, Answer::Refused, Fail);
        check(Launcher::RemovedDirectory, 0, Answer::Refused, Fail);
        check(Launcher::Nohup, 0, Answer::Missing("no answer".to_owned()), Fail);
        check(Launcher::Script, 1, Answer::Answered, Fail);
    }

    #[test]
    fn a_launcher_that_stays_fails() {
        let answer = Answer::Missing("it did not return".to_owned());
        let start = StartFrom { from: Launcher::ChildOfInit, status: None, answer, stopped: None };
        let history = Script::new().event(100, What::StartedFrom(start)).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Fail);
    }

    #[test]
    fn other_starts_prove_nothing() {
        check(Launcher::BlockedSignals, 0, Answer::Answered, Inconclusive);
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }
}
