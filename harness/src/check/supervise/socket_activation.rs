//! supervise/socket-activation: what waits in the supervisor's socket is answered by the next instance.

use crate::check::Check;
use crate::event::{Absence, Answer, QueuedRequest, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/socket-activation",
    level: Level::Must,
    profile: Some(Profile::Activated),
    capability: None,
    requirement: "With the supervisor holding the socket, a stop and SIGKILL lose no connection that was not yet accepted.",
    source: "systemd.socket(5); sd_listen_fds(3); shutdown(2)",
    reports: &["twisted#5621", "systemd#1286"],
    observed: "A request on a fresh connection while a real systemd holds the socket and nobody of the target is there: after \
               systemctl stop of the service alone, which the connection starts again, and right after SIGKILL of the main process, \
               which Restart= starts again.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let asked = history.find(|what| if let What::QueuedRequest(asked) = what { Some(asked) } else { None });
    let findings: Vec<Finding> = asked.map(|(event, asked)| judge(event.seq, asked)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("nobody asked while it was away")] } else { findings }
}

fn judge(event: u64, asked: &QueuedRequest) -> Finding {
    let when = match asked.absence {
        Absence::Stopped => "after it had been stopped",
        Absence::Killed => "after its main process had been killed",
    };
    let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event)]);
    match &asked.answer {
        Answer::Answered => Finding::pass(Evidence::text(format!("a request {when} was answered")).event(event)),
        Answer::Refused => fail(format!("a connection {when} was refused: the socket does not listen any more")),
        Answer::Missing(why) => fail(format!("a request {when} was not answered: {why}")).on_time(),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Absence, Answer, QueuedRequest, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(answers: &[(Absence, Answer)], want: Verdict) {
        let asked = answers.iter().map(|(absence, answer)| QueuedRequest { absence: *absence, answer: answer.clone() });
        let history = asked.fold(Script::new(), |script, it| script.event(9, What::QueuedRequest(it))).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn requests_that_waited_and_were_answered_pass() {
        check(&[(Absence::Stopped, Answer::Answered), (Absence::Killed, Answer::Answered)], Pass);
    }

    #[test]
    fn one_that_was_refused_or_lost_fails() {
        check(&[(Absence::Stopped, Answer::Answered), (Absence::Killed, Answer::Refused)], Fail);
        check(&[(Absence::Stopped, Answer::Missing("reset".to_owned()))], Fail);
    }

    #[test]
    fn without_an_absence_nothing_is_proven() {
        check(&[], Inconclusive);
    }
}
