//! supervise/systemd-notify: systemd calls the unit active when it serves, and not before.

use std::collections::BTreeMap;

use crate::check::Check;
use crate::event::{Event, UnitMoment, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/systemd-notify",
    level: Level::Must,
    profile: Some(Profile::Foreground),
    capability: Some(Capability::Notify),
    requirement: "As a unit of type notify it becomes active when it listens, not before and not never, fails when that takes longer \
                  than TimeoutStartSec=, and stops without a kill.",
    source: "systemd.service(5), Type=notify, NotifyAccess=main, TimeoutStartSec=",
    reports: &["systemd#27297"],
    observed: "A real systemd runs the launch command. The service is held in its listen(2) (seccomp_unotify(2)) for a second: its \
               unit has to be activating then, and with TimeoutStartSec=0 nobody loses patience. Let go, the unit has to become \
               active; after systemctl stop it has to be inactive, with the result success. Started with TimeoutStartSec=300ms \
               and held for longer, it has to fail with the result timeout.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let told = history.find(|what| match what {
        What::Unit { moment, properties, .. } => Some((*moment, properties)),
        _ => None,
    });
    let findings: Vec<Finding> = told.filter_map(|(event, (moment, shown))| judge(event, moment, shown)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no systemd ran it")] } else { findings }
}

fn judge(event: &Event, moment: UnitMoment, shown: &BTreeMap<String, String>) -> Option<Finding> {
    let of = |name: &str| shown.get(name).map_or("unknown", String::as_str);
    let (wanted, result_wanted, when) = match moment {
        UnitMoment::Held => ("activating", "success", "while it stood in its listen(2)"),
        UnitMoment::Started => ("active", "success", "once it had been let go"),
        UnitMoment::TimedOut => ("failed", "timeout", "after a start that was held for longer than TimeoutStartSec="),
        UnitMoment::Stopped => ("inactive", "success", "after the stop"),
        UnitMoment::Reloaded | UnitMoment::Watched | UnitMoment::Ended | UnitMoment::GivenUp => return None,
    };
    let (state, result) = (of("ActiveState"), of("Result"));
    let text = format!("{when} the unit was {state}, with the result {result}");
    let evidence = Evidence::text(text).event(event.seq);
    if state == wanted && result == result_wanted {
        return Some(Finding::pass(evidence));
    }
    if moment == UnitMoment::TimedOut && state == "activating" {
        return Some(Finding::inconclusive(format!("systemd went on waiting: {when} the unit was activating")));
    }
    let failed = Finding::fail(vec![evidence]);
    // A start that goes on, and a stop that took too long, are a matter of patience: ours, or systemd's.
    let on_time = (moment == UnitMoment::Started && state == "activating") || result == "timeout";
    Some(if on_time { failed.on_time() } else { failed })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::check::script::Script;
    use crate::event::{UnitMoment, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn unit(moment: UnitMoment, state: &str, result: &str) -> What {
        let pairs = [("ActiveState", state), ("Result", result)];
        let properties = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        What::Unit { moment, properties: BTreeMap::from(properties), main: None, server: None }
    }

    fn check(units: &[(UnitMoment, &str, &str)], want: Verdict) {
        let script = Script::new();
        let script =
            units.iter().fold(script, |script, (moment, state, result)| script.event(9, unit(*moment, state, result)));
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn a_unit_that_is_active_once_it_listens_passes() {
        let (held, started) = ((UnitMoment::Held, "activating", "success"), (UnitMoment::Started, "active", "success"));
        check(&[held, started, (UnitMoment::Stopped, "inactive", "success")], Pass);
    }

    #[test]
    fn one_that_is_active_before_or_never_fails() {
        check(&[(UnitMoment::Held, "active", "success")], Fail);
        check(&[(UnitMoment::Started, "activating", "success")], Fail);
        check(&[(UnitMoment::Started, "failed", "exit-code")], Fail);
    }

    #[test]
    fn one_that_has_to_be_killed_fails() {
        check(&[(UnitMoment::Stopped, "failed", "timeout")], Fail);
    }

    #[test]
    fn one_that_is_held_for_too_long_has_to_fail_by_timeout() {
        check(&[(UnitMoment::TimedOut, "failed", "timeout")], Pass);
        check(&[(UnitMoment::TimedOut, "active", "success")], Fail);
        check(&[(UnitMoment::TimedOut, "activating", "success")], Inconclusive);
    }

    #[test]
    fn without_systemd_nothing_is_proven() {
        check(&[], Inconclusive);
    }
}
