//! supervise/nohup: under nohup the end of the terminal does not end the service.

use crate::check::Check;
use crate::event::{Answer, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::scenario::Supervisor;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/nohup",
    level: Level::Must,
    profile: Some(Profile::Foreground),
    capability: None,
    requirement: "Started under nohup from a terminal, the service lives on and answers when that terminal is closed.",
    source: "nohup(1); bash(1), \"Signals\"; signal(7)",
    reports: &["hertz#441", "fish-shell#4007"],
    observed: "The launch command is run by the real nohup(1) as a job of a terminal, the terminal is closed, and every process \
               of the job gets SIGHUP, as from its shell. The main process afterwards, and the answer to a request.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    if history.plan.scenario.script().supervisor != Some(Supervisor::Nohup) {
        return vec![Finding::inconclusive("it did not run under nohup")];
    }
    let hangups = history.find(|what| match what {
        What::HungUp { lives, answer } => Some((*lives, answer)),
        _ => None,
    });
    let findings: Vec<Finding> = hangups
        .map(|(event, (lives, answer))| {
            let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
            match (lives, answer) {
                (false, _) => fail("the main process ended when the terminal did".to_owned()),
                (true, Answer::Answered) => Finding::pass(Evidence::text("it lives and answers").event(event.seq)),
                (true, Answer::Refused) => fail("it lives, and refuses connections".to_owned()),
                (true, Answer::Missing(why)) => fail(format!("it lives, and does not answer: {why}")).on_time(),
            }
        })
        .collect();
    if findings.is_empty() { vec![Finding::inconclusive("no terminal was closed")] } else { findings }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, What};
    use crate::scenario::Supervisor;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(what: Option<What>, want: Verdict) {
        let script = what.into_iter().fold(Script::new(), |script, what| script.event(100, what));
        let history = script.under(Supervisor::Nohup).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
    }

    #[test]
    fn who_lives_and_answers_passes() {
        check(Some(What::HungUp { lives: true, answer: Answer::Answered }), Pass);
    }

    #[test]
    fn who_ends_or_falls_silent_fails() {
        check(Some(What::HungUp { lives: false, answer: Answer::Refused }), Fail);
        check(Some(What::HungUp { lives: true, answer: Answer::Refused }), Fail);
    }

    #[test]
    fn without_a_hangup_or_without_nohup_nothing_is_proven() {
        check(None, Inconclusive);
        let history = Script::new().event(100, What::HungUp { lives: true, answer: Answer::Answered }).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Inconclusive);
    }
}
