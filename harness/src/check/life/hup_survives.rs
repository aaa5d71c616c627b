//! life/hup-survives: SIGHUP does not end the service.

use crate::check::Check;
use crate::event::{Answer, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "life/hup-survives",
    level: Level::Should,
    profile: None,
    capability: None,
    requirement: "SIGHUP lets the service read its configuration or open its log anew, or does nothing; it never ends it.",
    source: "daemon(7), \"SysV Daemons\" and \"New-Style Daemons\"; signal(7): its default is to end the process",
    reports: &["daemon(7)"],
    observed: "SIGHUP to the main process of a service at rest; whether it still lives 200 ms later (pidfd), and then requests on \
               fresh connections, for as long as an answer may take. Where the profile restart is claimed, a successor may \
               have taken the main process's place.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let replaces_itself = history.plan.target.profiles.contains(&Profile::Restart);
    let sent = history.find(|what| match what {
        What::HupSent { lives, answer } => Some((*lives, answer)),
        _ => None,
    });
    let finding = |(event, (lives, answer)): (&crate::event::Event, (bool, &Answer))| {
        let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
        let missing = match answer {
            Answer::Answered => None,
            Answer::Refused => Some("the next connects were refused".to_owned()),
            Answer::Missing(why) => Some(format!("no request was answered: {why}")),
        };
        match (lives, missing) {
            (true, None) => Finding::pass(Evidence::text("the main process lives, and answers").event(event.seq)),
            (false, None) if replaces_itself => {
                Finding::pass(Evidence::text("the main process ended, and a successor answers").event(event.seq))
            }
            (false, None) => fail("SIGHUP ended the main process; somebody else still answers".to_owned()),
            (false, Some(missing)) => fail(format!("SIGHUP ended the main process, and {missing}")),
            (true, Some(missing)) => fail(format!("the main process lives, and {missing}")).on_time(),
        }
    };
    let findings: Vec<Finding> = sent.map(finding).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no SIGHUP was sent")] } else { findings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(profile: Profile, what: Option<What>, want: Verdict) {
        let script = Script::new();
        let mut history = what.into_iter().fold(script, |script, what| script.event(100, what)).history();
        history.plan.target.profiles = vec![profile];
        assert_eq!((CHECK.decide)(&history)[0].verdict, want);
    }

    fn sent(lives: bool, answer: Answer) -> Option<What> {
        Some(What::HupSent { lives, answer })
    }

    #[test]
    fn a_service_that_lives_and_answers_passes() {
        check(Profile::Daemon, sent(true, Answer::Answered), Pass);
    }

    #[test]
    fn one_that_is_killed_fails() {
        check(Profile::Daemon, sent(false, Answer::Refused), Fail);
        check(Profile::Restart, sent(false, Answer::Refused), Fail);
        check(Profile::Daemon, sent(false, Answer::Answered), Fail);
        check(Profile::Daemon, sent(true, Answer::Refused), Fail);
    }

    #[test]
    fn a_successor_may_take_its_place_where_restarts_are_claimed() {
        check(Profile::Restart, sent(false, Answer::Answered), Pass);
    }

    #[test]
    fn without_the_signal_nothing_is_proven() {
        check(Profile::Daemon, None, Inconclusive);
    }
}
