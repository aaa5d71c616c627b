//! rollback/exits: a new version that exits at once changes nothing.

use crate::check::Check;
use crate::check::loss::{ANY_REQUEST, losses_of};
use crate::check::witness::FRESH_PER_SECOND_MIN;
use crate::clock::{Interval, Nanos};
use crate::event::{Broken, What};
use crate::history::{History, Upgrade};
use crate::manifest::{Capability, Profile};
use crate::request::Pattern;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/exits",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::ExecSelf),
    requirement: "When the new generation exits non-zero at once, the old one serves on and nothing is lost.",
    source: "the meaning of graceful: nginx \"Upgrading Executable on the Fly\" keeps the old binary when the new one fails",
    reports: &["gunicorn#2443"],
    observed: "In place of the executable lies one that leaves a mark and exits with 1; then the restart is triggered. From \
               the trigger until the next one (at least the time that the scenario names after the mark) no request is \
               lost, requests that begin after the mark are answered, and the main process lives. Without the mark, or \
               with fewer than 200 fresh connections per second, a pass is inconclusive.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    serves_on(history, Broken::Exits)
}

/// Whether the old generation serves on and nothing is lost in every upgrade that fails in this way.
pub(super) fn serves_on(history: &History, fault: Broken) -> Vec<Finding> {
    let broken = history.upgrades_to(fault);
    if broken.is_empty() {
        let text = format!("no upgrade was triggered that was to fail in this way ({})", fault.word());
        return vec![Finding::inconclusive(text)];
    }
    broken.iter().flat_map(|upgrade| one(history, upgrade)).collect()
}

fn one(history: &History, upgrade: &Upgrade) -> Vec<Finding> {
    let mut findings: Vec<Finding> = losses_of(history, upgrade, &ANY_REQUEST);
    findings.extend(main_ended(history, upgrade));
    findings.push(match upgrade.done {
        None => Finding::inconclusive("what was broken was never taken up").of(upgrade.id),
        Some(ran) => served(history, upgrade, "what was broken had been taken up", ran.not_after),
    });
    findings
}

/// Until the harness takes away what is broken, or the scenario's next step deploys what works: whoever tries again and again succeeds then.
pub(super) fn served_until(history: &History, upgrade: &Upgrade, ran: Nanos) -> Nanos {
    let ends = |what: &What| matches!(what, What::Survived { .. } | What::StepBegan { .. }).then_some(());
    let next = history.find(ends).map(|(event, ())| event.at.not_before).filter(|at| *at > ran).min();
    next.map_or(upgrade.window_end, |next| next.min(upgrade.window_end))
}

/// What begins after something (`since`), which was at `ran`, is answered.
pub(in crate::check) fn served(history: &History, upgrade: &Upgrade, since: &str, ran: Nanos) -> Finding {
    let until = served_until(history, upgrade, ran);
    let begun = || history.load().filter(|it| it.began >= ran && it.began < until);
    let answered = begun().filter(|it| it.failure().is_none() && it.ended <= until).count();
    let seconds = until.since(ran).as_secs_f64();
    let fresh = begun().filter(|it| it.pattern == Pattern::Fresh).count();
    let text = format!(
        "{answered} requests that began after {since} ({ran}) were answered until {until}; {fresh} fresh connections in \
         {seconds:.3} s"
    );
    let evidence = Evidence::text(text).event(upgrade.trigger_seq);
    // Half of what must be offered: an old generation that serves answers within milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "the requests of a run are few")]
    let (offered, kept_up) = (fresh as f64 >= seconds * FRESH_PER_SECOND_MIN - 1.0, answered * 2 >= fresh);
    if !kept_up {
        // It answers within milliseconds: to leave half of them waiting it must have lacked a processor for half of that time.
        let (late_by, within) = (until.since(ran) / 2, Interval::new(ran, until));
        Finding::fail(vec![evidence]).late_within(late_by, within).of(upgrade.id)
    } else if offered && answered > 0 {
        Finding::pass(evidence).of(upgrade.id)
    } else {
        Finding::inconclusive(evidence).of(upgrade.id)
    }
}

/// The main process has ended before the next upgrade was triggered.
pub(super) fn main_ended(history: &History, upgrade: &Upgrade) -> Option<Finding> {
    let main = history.find(|what| match what {
        What::Main { image } => Some(*image),
        _ => None,
    });
    let main = main.filter(|(event, _)| event.seq < upgrade.trigger_seq).last()?.1;
    let mut ends = history.find(move |what| match what {
        What::Exited { pid, status } if *pid == main.pid => Some(*status),
        _ => None,
    });
    // One that was seen only after the next trigger may be what that was meant to bring about.
    let window = |at: Interval| at.not_after > upgrade.trigger.not_before && at.not_after <= upgrade.window_end;
    let (event, status) = ends.find(|(event, _)| window(event.at))?;
    let text = format!("the main process {} ended at {} ({status:?})", main.pid, event.at.not_after);
    Some(Finding::fail(vec![Evidence::text(text).event(event.seq)]).of(upgrade.id))
}

#[cfg(test)]
pub(super) mod tests {
    use super::serves_on;
    use crate::check::script::{Script, answered, failed};
    use crate::event::{Broken, What};
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// What holds of an upgrade that fails in this way, and what one that fails in another way proves of it.
    pub(in crate::check::rollback) fn either(fails: Broken, other: Broken) {
        // At 1000 ms, with a request every 4 ms, which is answered so late, until the next upgrade at 2000 ms.
        let served = |broken: Broken, answered_at: fn(u64) -> u64| {
            let script = Script::new().broken_by(1000, 1, broken).broken_ran(1005, 1);
            (1010..1900).step_by(4).fold(script, |script, at| script.request(answered(at, answered_at(at), 1)))
        };
        let check = |script: Script, want: Verdict| {
            let findings = serves_on(&script.trigger(2000, 2, 2).history(), fails);
            let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
            assert_eq!(worst, want, "{findings:#?}");
        };
        check(served(fails, |at| at + 1), Pass);
        check(served(fails, |_at| 2100), Fail);
        check(served(fails, |at| at + 1).request(failed(1020, 1021, FailureClass::Dropped)), Fail);
        check(served(other, |at| at + 1), Inconclusive);
    }

    /// A broken upgrade at 1000 ms, the next one at 2000 ms, and a request every 4 ms from 1010 ms to `until`.
    fn served(until: u64) -> Script {
        let script = Script::new().main(1, 1).broken(1000, 1).broken_ran(1005, 1);
        (1010..until).step_by(4).fold(script, |script, at| script.request(answered(at, at + 1, 1)))
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.trigger(2000, 2, 2).history());
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn an_old_generation_that_serves_on_passes() {
        check(served(2000), Pass);
    }

    #[test]
    fn a_refused_connection_fails() {
        check(served(2000).request(failed(1020, 1021, FailureClass::Refused)), Fail);
    }

    #[test]
    fn a_main_process_that_ends_fails() {
        check(served(2000).exited(1006, 1), Fail);
    }

    #[test]
    fn a_main_process_that_may_have_ended_for_the_next_upgrade_proves_nothing() {
        let exited = What::Exited { pid: crate::id::Pid(1), status: crate::event::ExitStatus::Unknown };
        check(served(2000).spanning(1994, 2006, exited.clone()), Pass);
        check(served(2000).spanning(1980, 1992, exited), Fail);
    }

    #[test]
    fn requests_that_wait_until_a_good_executable_is_deployed_fail() {
        let next = What::StepBegan { index: 4, step: "upgrade".to_owned() };
        let script = Script::new().broken(1000, 1).broken_ran(1005, 1).event(1700, next);
        let waiting = (1010..1700).step_by(4).fold(script, |script, at| script.request(answered(at, 1900, 2)));
        check(waiting, Fail);
    }

    #[test]
    fn requests_that_wait_until_the_configuration_is_taken_back_fail() {
        let pidfile = crate::check::script::daemon::absent();
        let survived = What::Survived { upgrade: crate::id::UpgradeId(1), pidfile, survivor: None };
        let next = What::StepBegan { index: 4, step: "upgrade".to_owned() };
        let script = Script::new().broken(1000, 1).broken_ran(1005, 1).event(1700, survived).event(1750, next);
        let waiting = (1010..1700).step_by(4).fold(script, |script, at| script.request(answered(at, 1740, 2)));
        check(waiting, Fail);
    }

    #[test]
    fn requests_that_wait_for_the_next_upgrade_fail() {
        let waiting = (1010..1900).step_by(4).fold(Script::new().broken(1000, 1).broken_ran(1005, 1), |script, at| {
            script.request(answered(at, 2100, 2))
        });
        check(waiting, Fail);
    }

    #[test]
    fn too_little_load_proves_nothing() {
        check(served(1100), Inconclusive);
    }

    #[test]
    fn without_the_mark_nothing_is_proven() {
        check(Script::new().broken(1000, 1), Inconclusive);
    }
}
