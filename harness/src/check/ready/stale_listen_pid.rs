//! ready/stale-listen-pid: sockets that are meant for another process are nobody's business.

use crate::check::Check;
use crate::event::{ExitStatus, MarkedOutcome, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::target::Signal;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/stale-listen-pid",
    level: Level::Must,
    profile: Some(Profile::Activated),
    capability: None,
    requirement: "LISTEN_PID of another process is ignored, and is no error.",
    source: "sd_listen_fds(3): 0 is returned when LISTEN_PID is not the pid of the calling process",
    reports: &["libsystemd-rs#155"],
    observed: "After a start and a stop without it, one with LISTEN_PID naming the process that launches it, LISTEN_FDS=1, and no such \
               socket: whether it answers on its own address.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let started = history.find(|what| match what {
        What::MarkedStart { mark, outcome } if mark.starts_with("LISTEN_PID=") => Some((mark, *outcome)),
        _ => None,
    });
    let mut findings = Vec::new();
    for (event, (mark, outcome)) in started {
        let how = match outcome {
            MarkedOutcome::Answered => {
                findings.push(Finding::pass(Evidence::text(format!("with {mark} it serves")).event(event.seq)));
                continue;
            }
            MarkedOutcome::Ended(ExitStatus::Code(code)) => format!("ended with status {code}"),
            MarkedOutcome::Ended(ExitStatus::Signal(signal)) => format!("was killed by SIG{}", Signal(signal)),
            MarkedOutcome::Ended(ExitStatus::Unknown) => "ended".to_owned(),
            MarkedOutcome::Silent => "never answered".to_owned(),
        };
        let fail = Finding::fail(vec![Evidence::text(format!("with {mark} it {how}")).event(event.seq)]);
        findings.push(if outcome == MarkedOutcome::Silent { fail.on_time() } else { fail });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("it was not started with LISTEN_PID of another process"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(mark: &str, outcome: MarkedOutcome, want: Verdict) {
        let script = Script::new().event(100, What::MarkedStart { mark: mark.to_owned(), outcome });
        assert_eq!((CHECK.decide)(&script.history())[0].verdict, want);
    }

    #[test]
    fn one_that_serves_passes() {
        check("LISTEN_PID=1 LISTEN_FDS=1", MarkedOutcome::Answered, Pass);
    }

    #[test]
    fn one_that_ends_or_is_silent_fails() {
        check("LISTEN_PID=1 LISTEN_FDS=1", MarkedOutcome::Ended(ExitStatus::Code(1)), Fail);
        check("LISTEN_PID=1 LISTEN_FDS=1", MarkedOutcome::Silent, Fail);
    }

    #[test]
    fn another_mark_proves_nothing() {
        check("LISTEN_FDS=1", MarkedOutcome::Answered, Inconclusive);
    }
}
