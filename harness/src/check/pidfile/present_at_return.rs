//! pidfile/present-at-return: the pidfile is right at the instant the launcher exits.

use crate::check::Check;
use crate::check::daemon::{held, number, returns, shown};
use crate::event::{ExitStatus, Occasion, StartupCall, What};
use crate::history::History;
use crate::id::Pid;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/present-at-return",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "At the instant at which the launcher exits with 0 the pidfile is there, not empty, and names the daemon.",
    source: "daemon(7), \"SysV Daemons\"; systemd.service(5), PIDFile=",
    reports: &["nghttp2#375", "go-daemon"],
    observed: "Read when the launcher's pidfd becomes readable. In one scenario the daemon is held in the call that makes its \
               pidfile (seccomp_unotify(2)), until the launcher has returned, which is the failure if it was with 0, or \
               has stood still for 500 ms and five times what the start had taken. The launcher's own calls are never held.",
    needs: &[],
    observers: &["adversary"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (event, seen) in returns(history, Occasion::Start).filter(|(_, it)| it.status == ExitStatus::Code(0)) {
        let main = main_after(history, event.seq);
        let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
        findings.push(match (seen.pidfile.as_deref(), main) {
            (None, _) => fail("there was no pidfile when the launcher exited".to_owned()),
            (Some(""), _) => fail("the pidfile was empty when the launcher exited".to_owned()),
            (Some(_), None) => Finding::inconclusive("whom it should name is not known"),
            (Some(content), Some(main)) if number(content) == Some(main) => {
                Finding::pass(Evidence::text(format!("it named pid {main}")).event(event.seq))
            }
            (Some(content), Some(main)) => fail(format!("it said {}, and the daemon is pid {main}", shown(content))),
        });
    }
    findings.extend(held(history, |call| *call == StartupCall::Pidfile));
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no launcher returned with 0"));
    }
    findings
}

/// The main process that was found after this event.
fn main_after(history: &History, seq: u64) -> Option<Pid> {
    let mains = history.find(|what| if let What::Main { image } = what { Some(image.pid) } else { None });
    mains.into_iter().find(|(event, _)| event.seq > seq).map(|(_, pid)| pid)
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, Released, StartupCall};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(status: i32, pidfile: Option<&str>, want: Verdict) {
        let history = Script::new().returned(50, status, pidfile, Answer::Answered).main(60, 7).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want, "{pidfile:?}");
    }

    #[test]
    fn a_file_that_names_the_daemon_passes() {
        check(0, Some("7\n"), Pass);
    }

    #[test]
    fn an_absent_empty_or_wrong_one_fails() {
        check(0, None, Fail);
        check(0, Some(""), Fail);
        check(0, Some("5\n"), Fail);
    }

    #[test]
    fn a_launcher_that_failed_owes_none() {
        check(1, None, Inconclusive);
    }

    #[test]
    fn a_launcher_that_gives_up_while_the_file_is_being_made_has_waited() {
        let script = Script::new().held(StartupCall::Pidfile, Released::LauncherReturned);
        let history = script.returned(50, 1, None, Answer::Refused).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Inconclusive);
    }

    #[test]
    fn a_launcher_that_returns_while_the_file_is_being_made_fails_however_fast_the_file_is() {
        for (released, want) in [(Released::LauncherReturned, Fail), (Released::LauncherWaited, Pass)] {
            let script = Script::new().held(StartupCall::Pidfile, released);
            let history = script.returned(50, 0, Some("7\n"), Answer::Answered).main(60, 7).history();
            let worst = (super::CHECK.decide)(&history).into_iter().map(|it| it.verdict).max();
            assert_eq!(worst, Some(want));
        }
    }
}
