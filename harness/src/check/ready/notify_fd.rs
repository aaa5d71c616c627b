//! ready/notify-fd: a newline on the agreed descriptor, and then its end.

use crate::check::Check;
use crate::check::notice::after_listening;
use crate::event::What;
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/notify-fd",
    level: Level::Should,
    profile: Some(Profile::Foreground),
    capability: Some(Capability::NotifyFd),
    requirement: "When the service listens it writes a newline to the descriptor that was agreed on, and closes it.",
    source: "s6, \"Service startup notifications\"; dinit-service(5), ready-notification",
    reports: &["finit#299"],
    observed: "A socket of a pair under the manifest's `notify_fd`, written to and closed as the pipe of a supervisor is: what comes \
               out of it, stamped by the kernel (SO_TIMESTAMPNS), and the end of file, which comes when no process holds it any \
               more. Whether it came after the listener is told as for ready/notify-once.",
    needs: &[],
    observers: &["notify"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let came = history.find(|what| match what {
        What::NotifiedFd { text, closed } => Some((text, *closed)),
        _ => None,
    });
    let came: Vec<_> = came.collect();
    let late = |wanted: &str| {
        let passed = history.find(|what| match what {
            What::DeadlinePassed { name, length_ms } => Some((name, *length_ms)),
            _ => None,
        });
        passed.into_iter().find(|(_, (name, _))| *name == wanted).map(|(event, (_, length_ms))| (event.seq, length_ms))
    };
    let Some((event, _)) = came.iter().find(|(_, (text, _))| text.contains('\n')) else {
        return vec![match (came.iter().find(|(_, (_, closed))| *closed), late("newline")) {
            (Some((event, _)), _) => {
                let text = "the descriptor was closed without a newline";
                Finding::fail(vec![Evidence::text(text).event(event.seq)])
            }
            (None, Some((seq, ms))) => {
                let text = format!("the service answered, and {ms} ms later no newline had come");
                Finding::fail(vec![Evidence::text(text).event(seq)]).on_time()
            }
            (None, None) => Finding::inconclusive("the run ended before a newline could come"),
        }];
    };
    let ended = match late("close") {
        Some((seq, ms)) => {
            let text = format!("the descriptor was still open {ms} ms after the newline");
            Finding::fail(vec![Evidence::text(text).event(event.seq).event(seq)]).on_time()
        }
        None => Finding::pass(Evidence::text("a newline, and then the end").event(event.seq)),
    };
    vec![after_listening(history, "the newline", event.at, event.seq), ended]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn came(text: &str) -> What {
        What::NotifiedFd { text: text.to_owned(), closed: text.is_empty() }
    }

    fn late(name: &str) -> What {
        What::DeadlinePassed { name: name.to_owned(), length_ms: 1000 }
    }

    fn check(script: Script, want: Verdict) {
        let findings = (CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    fn listening() -> Script {
        Script::new().listen_call(10, 1, &[])
    }

    #[test]
    fn a_newline_and_the_end_pass() {
        check(listening().event(20, came("\n")).event(21, came("")), Pass);
    }

    #[test]
    fn an_open_descriptor_an_early_newline_and_none_fail() {
        check(listening().event(20, came("\n")).event(2000, late("close")), Fail);
        check(Script::new().event(5, came("\n")).listen_call(10, 1, &[]).event(21, came("")), Fail);
        check(listening().event(21, came("")), Fail);
        check(listening().event(2000, late("newline")), Fail);
    }

    #[test]
    fn without_a_start_nothing_is_proven() {
        check(Script::new(), Inconclusive);
    }
}
