//! supervise/supervisord: supervisord can run it: start, restart, and stop without a kill.

use crate::check::Check;
use crate::event::What;
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/supervisord",
    level: Level::Must,
    profile: Some(Profile::Foreground),
    capability: None,
    requirement: "Under supervisord it reaches RUNNING at its first start, and a stop ends all of it within stopwaitsecs.",
    source: "supervisord.org, \"Subprocesses\" and \"[program:x] Section Settings\"",
    reports: &["Supervisor#891"],
    observed: "The real supervisord runs the launch command as its one program. Its log tells of every start and of RUNNING; the \
               stop is supervisorctl's, after which no process but supervisord may live, and none may have been killed.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let first = history.find(|what| match what {
        What::Supervised { running, starts } => Some((*running, *starts)),
        _ => None,
    });
    let Some((event, (running, starts))) = first.into_iter().next() else {
        return vec![Finding::inconclusive("supervisord did not run it")];
    };
    let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
    let started = match (running, starts) {
        (true, 1) => Finding::pass(Evidence::text("it was started once and reached RUNNING").event(event.seq)),
        (true, starts) => fail(format!("it reached RUNNING only at its start number {starts}")),
        (false, starts) => fail(format!("it was started {starts} times and never reached RUNNING")),
    };
    let stops = history.find(|what| if let What::SupervisedStop(stop) = what { Some(stop) } else { None });
    let stops = stops.map(|(event, stop)| {
        let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
        match (stop.killed, stop.living.as_slice()) {
            (true, _) => fail("supervisord lost patience with its stop and killed it".to_owned()).on_time(),
            (false, []) => Finding::pass(Evidence::text("the stop ended all of it").event(event.seq)),
            (false, living) => {
                let pids: Vec<String> = living.iter().map(|image| image.pid.to_string()).collect();
                fail(format!("after the stop there still lived process {}", pids.join(", ")))
            }
        }
    });
    std::iter::once(started).chain(stops).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{SupervisedStop, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    fn started(running: bool, starts: usize) -> Script {
        Script::new().event(100, What::Supervised { running, starts })
    }

    fn stopped(killed: bool, living: &[i32]) -> What {
        What::SupervisedStop(SupervisedStop { killed, living: living.iter().map(|pid| image(*pid)).collect() })
    }

    #[test]
    fn one_start_and_a_clean_stop_pass() {
        check(started(true, 1).event(200, stopped(false, &[])), Pass);
    }

    #[test]
    fn more_than_one_start_fails() {
        check(started(true, 2), Fail);
        check(started(false, 4), Fail);
    }

    #[test]
    fn a_kill_or_a_process_left_fails() {
        check(started(true, 1).event(200, stopped(true, &[])), Fail);
        check(started(true, 1).event(200, stopped(false, &[9])), Fail);
    }

    #[test]
    fn without_supervisord_nothing_is_proven() {
        check(Script::new(), Inconclusive);
    }
}
