//! detach/survives-hangup: the end of the launcher's terminal does not end the daemon.

use crate::check::Check;
use crate::event::{Answer, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "detach/survives-hangup",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "Neither ^C on the launcher's terminal nor the closing of that terminal ends the daemon.",
    source: "daemon(7), \"SysV Daemons\"; tty_ioctl(4); setsid(2)",
    reports: &["sshfs#141"],
    observed: "The daemon is launched in the foreground group of a terminal; ^C is typed there once it is up, then the master \
               side is closed. Its process afterwards, and the answer to a request.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let hangups = history.find(|what| match what {
        What::HungUp { lives, answer } => Some((*lives, answer)),
        _ => None,
    });
    let one = |(event, (lives, answer)): (&crate::event::Event, (bool, &Answer))| {
        let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
        match (lives, answer) {
            (false, _) => fail("the main process ended when the terminal did".to_owned()),
            (true, Answer::Answered) => Finding::pass(Evidence::text("it lives and answers").event(event.seq)),
            (true, Answer::Refused) => fail("it lives, and refuses connections".to_owned()),
            (true, Answer::Missing(why)) => fail(format!("it lives, and does not answer: {why}")).on_time(),
        }
    };
    let findings: Vec<Finding> = hangups.map(one).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no terminal was closed")] } else { findings }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(what: Option<What>, want: Verdict) {
        let script = what.into_iter().fold(Script::new(), |script, what| script.event(100, what));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want);
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
    fn without_a_hangup_nothing_is_proven() {
        check(None, Inconclusive);
    }
}
