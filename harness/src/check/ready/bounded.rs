//! ready/bounded: a start that hangs ends in its time, with an error.

use crate::check::Check;
use crate::check::daemon::returns;
use crate::event::{Answer, Event, ExitStatus, LauncherReturn, Occasion, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/bounded",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "An initialisation that hangs ends within its declared time with an error.",
    source: "daemon(7), \"SysV Daemons\"; systemd.service(5), TimeoutStartSec=",
    reports: &["janus#408"],
    observed: "A launch whose daemon is held in its listen(2), or in the call that makes its pidfile (seccomp_unotify(2)), until \
               the launcher has returned: its exit status, within `deadlines.give_up_ms`; and whether the daemon, let go then, \
               ends too. A launcher that exits with 0 before anything was held, while nobody listens, waits for nothing. The \
               launcher's own calls are never held.",
    needs: &[],
    observers: &["adversary"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let late = history.find(|what| match what {
        What::DeadlinePassed { name, length_ms } if name == Occasion::Hung.deadline() => Some(*length_ms),
        _ => None,
    });
    let mut findings: Vec<Finding> = late.map(|late| never(history, late)).collect();
    let held = history.events.iter().any(|event| matches!(event.what, What::StartupHeld { .. }));
    for (event, seen) in returns(history, Occasion::Hung) {
        findings.push(if held { returned(history, event, seen.status) } else { unheld(event, seen) });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no start was made to hang"));
    }
    findings
}

/// The launcher had not returned when this deadline passed.
fn never(history: &History, (event, length_ms): (&Event, u64)) -> Finding {
    let text = format!("its start hung, and {length_ms} ms later the launcher had not returned");
    if history.plan.target.deadlines.give_up.is_some() {
        Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time()
    } else {
        Finding::inconclusive(format!("{text}; the manifest declares no time (`deadlines.give_up_ms`)"))
    }
}

/// The launcher returned before anything of its start could be held.
fn unheld(event: &Event, seen: &LauncherReturn) -> Finding {
    match (seen.status, &seen.answer) {
        (ExitStatus::Code(0), Answer::Refused) => {
            let text = "the launcher exited with 0 before its daemon had begun what could hang: nobody listened yet";
            Finding::fail(vec![Evidence::text(text).event(event.seq)])
        }
        _ => {
            Finding::inconclusive("nothing of its start was held: the launcher listens, and makes the pidfile, itself")
        }
    }
}

fn returned(history: &History, event: &Event, status: ExitStatus) -> Finding {
    let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
    let code = match status {
        ExitStatus::Code(0) => return fail("its start hung, and the launcher exited with 0".to_owned()),
        ExitStatus::Signal(signal) => return fail(format!("its start hung, and signal {signal} killed the launcher")),
        ExitStatus::Unknown => return Finding::inconclusive("how the launcher ended is not known"),
        ExitStatus::Code(code) => code,
    };
    let over = history.find(|what| if let What::HungStartOver { living } = what { Some(living) } else { None });
    let Some((after, living)) = over.into_iter().find(|(after, _)| after.seq > event.seq) else {
        return Finding::inconclusive("the run ended before it was seen what was left");
    };
    match living.first() {
        Some(image) => {
            let text = format!("the launcher exited with {code}, and process {} of that start went on", image.pid);
            Finding::fail(vec![Evidence::text(text).event(event.seq).event(after.seq)]).on_time()
        }
        None => {
            let text = format!("its start hung, the launcher exited with {code}, and nothing of it was left");
            Finding::pass(Evidence::text(text).event(event.seq).event(after.seq))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, image};
    use crate::event::{Released, StartupCall};
    use crate::id::{Image, Pid};
    use crate::scenario::Launcher;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn held() -> Script {
        Script::new().held(StartupCall::Pidfile, Released::LauncherReturned)
    }

    fn over(script: Script, code: i32, living: Vec<Image>) -> Script {
        let status = ExitStatus::Code(code);
        let answer = Answer::Missing("its start is held".to_owned());
        let (occasion, from) = (Occasion::Hung, Launcher::Clean);
        let returned = LauncherReturn { occasion, from, closed: false, pid: Pid(5), status, pidfile: None, answer };
        script.event(60, What::LauncherReturned(returned)).event(70, What::HungStartOver { living })
    }

    fn check(script: Script, want: Verdict) {
        assert_eq!((CHECK.decide)(&script.history())[0].verdict, want);
    }

    #[test]
    fn an_error_with_nothing_left_passes() {
        check(over(held(), 1, vec![]), Pass);
    }

    #[test]
    fn success_or_a_daemon_that_goes_on_fails() {
        check(over(held(), 0, vec![image(7)]), Fail);
        check(over(held(), 1, vec![image(7)]), Fail);
    }

    #[test]
    fn a_launcher_that_waits_for_ever_fails_where_a_time_is_declared() {
        let late = What::DeadlinePassed { name: Occasion::Hung.deadline().to_owned(), length_ms: 1000 };
        check(Script::new().event(60, late.clone()), Fail);
        let mut history = Script::new().event(60, late).history();
        history.plan.target.deadlines.give_up = None;
        assert_eq!((CHECK.decide)(&history)[0].verdict, Inconclusive);
    }

    #[test]
    fn without_a_held_call_nothing_is_proven() {
        check(over(Script::new(), 1, vec![]), Inconclusive);
        check(Script::new(), Inconclusive);
    }
}
