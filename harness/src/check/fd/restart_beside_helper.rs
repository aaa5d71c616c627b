//! fd/restart-beside-helper: what a killed daemon leaves running does not keep the next one from starting.

use crate::check::Check;
use crate::event::{Answer, Event, RestartBeside, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "fd/restart-beside-helper",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Helpers),
    requirement: "A daemon that was killed starts again while a helper process of it lives on.",
    source: "open(2), O_CLOEXEC; flock(2): a lock lasts as long as any descriptor of its open file",
    reports: &["mongoose#1302"],
    observed: "SIGKILL to the main process alone, as the out-of-memory killer sends it. Who of the target lives half a second later is \
               a helper; its pidfile stays where it is. Then the same launch: the launcher's exit status, the declared readiness, and \
               a request. At least one helper must have lived until after that.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let found = history.find(|what| if let What::RestartedBeside(it) = what { Some(it) } else { None });
    let findings: Vec<Finding> = found.map(|(event, restart)| judge(history, event, restart)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no daemon was killed and started again")] } else { findings }
}

fn judge(history: &History, event: &Event, restart: &RestartBeside) -> Finding {
    let killed = restart.killed;
    if restart.helpers.is_empty() {
        let text = format!("no process lived on from the kill of pid {killed} until after the next start");
        return Finding::inconclusive(Evidence::text(text).event(event.seq));
    }
    let pids: Vec<String> = restart.helpers.iter().map(|image| image.pid.to_string()).collect();
    let beside = format!("pid {killed} was killed, and pid {} lived on", pids.join(", "));
    let fail = |why: &str| Finding::fail(vec![Evidence::text(format!("{beside}; {why}")).event(event.seq)]);
    match &restart.answer {
        Some(Answer::Answered) => {
            Finding::pass(Evidence::text(format!("{beside}; started again, it answered")).event(event.seq))
        }
        Some(Answer::Refused) => fail("started again, it refused a connection"),
        Some(Answer::Missing(why)) => fail(&format!("started again, it did not answer: {why}")).on_time(),
        None => {
            let during = || {
                let within = |it: &&Event| it.seq < event.seq && it.at.not_before >= event.at.not_before;
                history.events.iter().filter(within).map(|it| &it.what)
            };
            let refused = during().find_map(|what| match what {
                What::ActionFailed { action, reason } if action == "start" => Some(reason.as_str()),
                _ => None,
            });
            let fail = fail(&format!("it did not start again: {}", refused.unwrap_or("it was not ready in time")));
            // One that has ended, or said why, is more than late.
            let is_late = during().any(|what| matches!(what, What::DeadlinePassed { .. }));
            if is_late { fail.on_time() } else { fail }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{Answer, RestartBeside, What};
    use crate::id::Pid;
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn restarted(script: Script, helpers: &[i32], answer: Option<Answer>) -> Script {
        let helpers = helpers.iter().map(|pid| image(*pid)).collect();
        let restart = RestartBeside { killed: Pid(7), helpers, answer };
        script.spanning(100, 300, What::RestartedBeside(restart))
    }

    fn check(helpers: &[i32], answer: Option<Answer>, want: Verdict) {
        let history = restarted(Script::new(), helpers, answer).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
    }

    #[test]
    fn who_starts_beside_its_helper_passes() {
        check(&[8], Some(Answer::Answered), Pass);
    }

    #[test]
    fn who_does_not_start_or_serve_fails() {
        check(&[8], None, Fail);
        check(&[8, 9], Some(Answer::Refused), Fail);
        check(&[8], Some(Answer::Missing("no answer".to_owned())), Fail);
    }

    #[test]
    fn a_refusal_is_told_and_rests_on_no_time() {
        let reason = "the launcher did not end with 0 (exit status 1)".to_owned();
        let refused = What::ActionFailed { action: "start".to_owned(), reason };
        let found = (super::CHECK.decide)(&restarted(Script::new().event(200, refused), &[8], None).history());
        assert!(found[0].evidence[0].text.contains("exit status 1"), "{found:?}");
        assert_ne!(found[0].ground, Ground::Time);
        let late = What::DeadlinePassed { name: "ready".to_owned(), length_ms: 1 };
        let found = (super::CHECK.decide)(&restarted(Script::new().event(200, late), &[8], None).history());
        assert_eq!((found[0].verdict, found[0].ground), (Fail, Ground::Time));
    }

    #[test]
    fn without_a_helper_nothing_is_proven() {
        check(&[], Some(Answer::Answered), Inconclusive);
        check(&[], None, Inconclusive);
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }
}
