//! ready/notify-once: READY=1 comes once, after the listener, from the main process.

use crate::check::Check;
use crate::check::notice::{Notice, after_listening, notices};
use crate::event::What;
use crate::history::History;
use crate::id::Pid;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/notify-once",
    level: Level::Must,
    profile: Some(Profile::Foreground),
    capability: Some(Capability::Notify),
    requirement: "READY=1 is sent once per generation, after the service listens, by the main process.",
    source: "sd_notify(3); systemd.service(5), Type=notify and NotifyAccess=main",
    reports: &["systemd#27297"],
    observed: "A notification socket of the harness's own, with a path in one scenario and an abstract name in the other: the kernel \
               stamps each message (SO_TIMESTAMPNS) and names its sender (SCM_CREDENTIALS). It listens from the first \
               listen(2) on, in which the target is held for a moment (seccomp_unotify(2)), or from the first dump that shows \
               the listener.",
    needs: &[],
    observers: &["notify"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mains: Vec<Pid> = history
        .find(|what| if let What::Main { image } = what { Some(image.pid) } else { None })
        .map(|it| it.1)
        .collect();
    if mains.is_empty() {
        return vec![Finding::inconclusive("no main process was known")];
    }
    // A reload is a generation of its own; what is said at the stop is no readiness.
    let ends = history.find(|what| matches!(what, What::ReloadAsked | What::StopAsked { .. }).then_some(()));
    let first_end = ends.into_iter().next().map(|(event, ())| event.at.not_before);
    let notices = notices(history);
    let ready: Vec<&Notice<'_>> = notices
        .iter()
        .filter(|notice| notice.says("READY=1") && first_end.is_none_or(|end| notice.at.not_after < end))
        .collect();
    let Some(first) = ready.first() else {
        let late = history.find(|what| match what {
            What::DeadlinePassed { name, length_ms } if name == "READY=1" => Some(*length_ms),
            _ => None,
        });
        return match late.into_iter().next() {
            Some((event, ms)) => {
                let text = format!("the service answered, and {ms} ms later it had not said READY=1");
                vec![Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time()]
            }
            None => vec![Finding::inconclusive("the run ended before it could say that it was ready")],
        };
    };
    let mut findings = vec![after_listening(history, "READY=1", first.at, first.seq)];
    if ready.len() > 1 {
        let text = format!("READY=1 came {} times at one start", ready.len());
        let evidence = ready.iter().fold(Evidence::text(text), |text, notice| text.event(notice.seq));
        findings.push(Finding::fail(vec![evidence]));
    }
    findings.extend(notices.iter().filter(|notice| notice.says("READY=1")).map(|notice| sender(notice, &mains)));
    findings
}

/// Who said it.
fn sender(notice: &Notice<'_>, mains: &[Pid]) -> Finding {
    let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(notice.seq)]);
    match notice.pid {
        Some(pid) if mains.contains(&pid) => {
            Finding::pass(Evidence::text(format!("READY=1 came from the main process {pid}")).event(notice.seq))
        }
        Some(pid) => fail(format!("READY=1 came from process {pid}, which is not the main process")),
        // The main process lives until the stop.
        None => fail("READY=1 came from a process that ended at once: not from the main process".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn script() -> Script {
        Script::new().listen_call(10, 1, &[])
    }

    fn ended(script: Script) -> Script {
        script.main(30, 5).event(50, What::StopAsked { action: "signal TERM to main".to_owned() })
    }

    fn check(script: Script, want: Verdict) {
        let findings = (CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn once_after_the_listener_from_main_passes() {
        check(ended(script().notified(20, Some(5), &["READY=1"])), Pass);
    }

    #[test]
    fn before_the_listener_fails() {
        check(ended(Script::new().notified(5, Some(5), &["READY=1"]).listen_call(10, 1, &[])), Fail);
    }

    #[test]
    fn from_another_process_or_from_one_that_is_gone_fails() {
        check(ended(script().notified(20, Some(6), &["READY=1"])), Fail);
        check(ended(script().notified(20, None, &["READY=1"])), Fail);
    }

    #[test]
    fn twice_fails_and_never_fails() {
        check(ended(script().notified(20, Some(5), &["READY=1"]).notified(21, Some(5), &["READY=1"])), Fail);
        let late = What::DeadlinePassed { name: "READY=1".to_owned(), length_ms: 1000 };
        check(ended(script().event(40, late)), Fail);
    }

    #[test]
    fn a_reload_may_say_it_again() {
        let reloaded = script().notified(20, Some(5), &["READY=1"]).main(30, 5).event(40, What::ReloadAsked);
        check(reloaded.notified(45, Some(5), &["READY=1"]), Pass);
    }

    #[test]
    fn at_the_same_time_proves_nothing() {
        check(ended(script().notified(10, Some(5), &["READY=1"])), Inconclusive);
    }
}
