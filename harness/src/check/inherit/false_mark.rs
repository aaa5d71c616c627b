//! inherit/false-mark: a mark of inheritance with nothing to inherit is ignored, or an error.

use crate::check::Check;
use crate::event::{ExitStatus, MarkedOutcome, What};
use crate::history::History;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/false-mark",
    level: Level::Must,
    profile: None,
    capability: None,
    requirement: "A stray mark of inheritance is ignored or an error; never is a descriptor served that is no listener on the \
                  configured address.",
    source: "environ(7): an environment is inherited by everybody; sd_listen_fds(3)",
    reports: &["the seed's own design"],
    observed: "After a start without it, a start with each of `is_slave=true`, `_GO_DAEMON=1` and `LISTEN_FDS=1` in the \
               environment: once with nothing open above descriptor 2, once with a listener on another address there. Each ends in an answer on the configured address, or in an \
               exit status other than 0.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let starts = history.find(|what| match what {
        What::MarkedStart { mark, outcome } => Some((mark, *outcome)),
        _ => None,
    });
    let mut findings: Vec<Finding> = starts
        .map(|(event, (mark, outcome))| {
            let (good, did) = match outcome {
                MarkedOutcome::Answered => (true, "it answered on its address: ignored".to_owned()),
                MarkedOutcome::Ended(ExitStatus::Code(0)) => (false, "it ended with 0 and never answered".to_owned()),
                MarkedOutcome::Ended(ExitStatus::Code(code)) => (true, format!("it ended with {code}: an error")),
                MarkedOutcome::Ended(ExitStatus::Signal(signal)) => (false, format!("signal {signal} ended it")),
                MarkedOutcome::Ended(ExitStatus::Unknown) => {
                    let text = format!("started with {mark}: how it ended could not be learnt");
                    return Finding::inconclusive(Evidence::text(text).event(event.seq));
                }
                MarkedOutcome::Silent => (false, "it neither answered nor ended".to_owned()),
            };
            let evidence = Evidence::text(format!("started with {mark}: {did}")).event(event.seq);
            match (good, outcome) {
                (true, _) => Finding::pass(evidence),
                // It was waited for, and not for ever.
                (false, MarkedOutcome::Silent) => Finding::fail(vec![evidence]).on_time(),
                (false, _) => Finding::fail(vec![evidence]),
            }
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("it was never started with a mark"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{ExitStatus, MarkedOutcome, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(outcome: Option<MarkedOutcome>, want: Verdict) {
        let mut script = Script::new();
        if let Some(outcome) = outcome {
            script = script.event(1000, What::MarkedStart { mark: "is_slave=true".to_owned(), outcome });
        }
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want);
    }

    #[test]
    fn a_mark_that_is_ignored_or_refused_passes() {
        check(Some(MarkedOutcome::Answered), Pass);
        check(Some(MarkedOutcome::Ended(ExitStatus::Code(1))), Pass);
    }

    #[test]
    fn a_mark_that_is_believed_fails() {
        check(Some(MarkedOutcome::Silent), Fail);
        check(Some(MarkedOutcome::Ended(ExitStatus::Code(0))), Fail);
        check(Some(MarkedOutcome::Ended(ExitStatus::Signal(11))), Fail);
    }

    #[test]
    fn without_a_marked_start_nothing_is_proven() {
        check(None, Inconclusive);
    }
}
