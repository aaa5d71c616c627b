//! life/rebind-at-once: a stopped service starts again at once on the same port.

use crate::check::{Check, Witness};
use crate::event::{Event, Phase, What};
use crate::history::History;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "life/rebind-at-once",
    level: Level::Must,
    profile: None,
    capability: None,
    requirement: "Stopped after it has closed connections first, the service starts again at once on the same port.",
    source: "socket(7), SO_REUSEADDR; RFC 9293 §3.6.1: who closes first keeps the connection in TIME-WAIT",
    reports: &["TIME_WAIT without SO_REUSEADDR"],
    observed: "Requests with `Connection: close`, each kept open until the server has closed; inet_diag shows its port's connections \
               in TIME_WAIT, where they stay for a minute. Then the declared stop, and at once the same launch.",
    needs: &[Witness::Announcements],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    vec![judge(history).unwrap_or_else(Finding::inconclusive)]
}

fn judge(history: &History) -> Result<Finding, &'static str> {
    let after = |seq: u64, wanted: fn(&What) -> bool| {
        history.events.iter().find(move |event| event.seq > seq && wanted(&event.what))
    };
    let closed = history.find(|what| match what {
        What::ClosedFirst { time_wait } if *time_wait > 0 => Some(*time_wait),
        _ => None,
    });
    let (closed, count) = closed.into_iter().next().ok_or("the service closed no connection first")?;
    let stop = after(closed.seq, |what| matches!(what, What::StopAsked { .. })).ok_or("it was not stopped")?;
    let start = after(stop.seq, |what| matches!(what, What::Phase(Phase::Start))).ok_or("it was not started again")?;
    let between = |event: &&Event| (stop.seq..start.seq).contains(&event.seq);
    let late = |what: &What| matches!(what, What::DeadlinePassed { name, .. } if name == "stop");
    if history.events.iter().filter(between).any(|event| late(&event.what)) {
        return Err("it had not stopped when it was started again");
    }
    let kept = format!("{count} connections that it had closed first were in TIME_WAIT on its port");
    let evidence = |text: String| Evidence::text(text).event(closed.seq);
    if let Some(ready) = after(start.seq, |what| matches!(what, What::Ready { .. })) {
        return Ok(Finding::pass(evidence(format!("{kept}; started at once, it was ready")).event(ready.seq)));
    }
    let refused = after(start.seq, |what| matches!(what, What::ActionFailed { .. }));
    let why = match refused.map(|event| &event.what) {
        Some(What::ActionFailed { reason, .. }) => format!("{kept}; started at once, it did not start: {reason}"),
        _ => format!("{kept}; started at once, it did not become ready"),
    };
    let mut text = evidence(why);
    text.events.extend(refused.map(|event| event.seq));
    let fail = Finding::fail(vec![text]);
    // One that has ended, or said why, is more than late.
    let is_late = after(start.seq, |what| matches!(what, What::DeadlinePassed { .. })).is_some();
    Ok(if is_late { fail.on_time() } else { fail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn stopped(time_wait: usize) -> Script {
        Script::new()
            .event(10, What::Phase(Phase::Start))
            .event(20, What::Ready { by: "answers".to_owned() })
            .event(30, What::ClosedFirst { time_wait })
            .event(40, What::StopAsked { action: "signal TERM to main".to_owned() })
    }

    fn check(script: Script, want: Verdict) {
        assert_eq!((CHECK.decide)(&script.history())[0].verdict, want);
    }

    fn failed() -> What {
        What::ActionFailed { action: "start".to_owned(), reason: "the launcher did not end with 0".to_owned() }
    }

    #[test]
    fn a_start_that_becomes_ready_passes() {
        let ready = What::Ready { by: "answers".to_owned() };
        check(stopped(4).event(50, What::Phase(Phase::Start)).event(60, ready), Pass);
    }

    #[test]
    fn a_start_that_fails_fails() {
        check(stopped(4).event(50, What::Phase(Phase::Start)).event(60, failed()), Fail);
    }

    #[test]
    fn without_a_remembered_connection_nothing_is_proven() {
        check(stopped(0).event(50, What::Phase(Phase::Start)).event(60, failed()), Inconclusive);
        check(stopped(4), Inconclusive);
    }

    #[test]
    fn one_that_still_runs_cannot_be_started() {
        let late = What::DeadlinePassed { name: "stop".to_owned(), length_ms: 1000 };
        check(stopped(4).event(45, late).event(50, What::Phase(Phase::Start)).event(60, failed()), Inconclusive);
    }
}
