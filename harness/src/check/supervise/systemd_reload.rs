//! supervise/systemd-reload: systemd takes an upgrade for what it is.

use std::collections::BTreeMap;

use crate::check::Check;
use crate::event::{UnitMoment, What};
use crate::history::History;
use crate::id::Pid;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/systemd-reload",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Notify),
    requirement: "ExecReload= upgrades the unit without its leaving active: MainPID is who serves, alone, and no restart is counted.",
    source: "systemd.service(5), ExecReload=; sd_notify(3), MAINPID=",
    reports: &["nghttp2#368", "systemd#5775", "icinga2#3440"],
    observed: "systemctl reload under a real systemd, with SIGHUP to the main process in ExecReload=, until the new version answers. \
               Then ActiveState, the time at which the unit became active, NRestarts, and MainPID against the nearest process that \
               is, or is an ancestor of, all of the unit that hold the listener.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// What systemd showed, whom it calls main, and who serves.
type Shown<'a> = (&'a BTreeMap<String, String>, Option<Pid>, Option<Pid>);

fn decide(history: &History) -> Vec<Finding> {
    let shown = |wanted: UnitMoment| {
        history.find(move |what| match what {
            What::Unit { moment, properties, main, server } if *moment == wanted => Some((properties, *main, *server)),
            _ => None,
        })
    };
    let Some((_, (before, ..))) = shown(UnitMoment::Started).next() else {
        return vec![Finding::inconclusive("no systemd ran it")];
    };
    let upgrades = history.upgrades();
    let findings = shown(UnitMoment::Reloaded).enumerate().map(|(n, (event, after))| {
        if upgrades.get(n).is_none_or(|upgrade| upgrade.done.is_none()) {
            let text = "it was reloaded, and the new version never answered";
            return Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time();
        }
        match wrong(before, after) {
            Some(text) => Finding::fail(vec![Evidence::text(text).event(event.seq)]),
            None => {
                let text = "it was upgraded, and for systemd it has been active all the time, with the same restarts";
                Finding::pass(Evidence::text(text).event(event.seq))
            }
        }
    });
    let findings: Vec<Finding> = findings.collect();
    if findings.is_empty() { vec![Finding::inconclusive("it was never reloaded")] } else { findings }
}

fn wrong(before: &BTreeMap<String, String>, (after, main, server): Shown<'_>) -> Option<String> {
    let of = |shown: &BTreeMap<String, String>, name: &str| shown.get(name).cloned().unwrap_or_default();
    let state = of(after, "ActiveState");
    if state != "active" {
        return Some(format!("after the reload the unit was {state}"));
    }
    if of(before, "ActiveEnterTimestampMonotonic") != of(after, "ActiveEnterTimestampMonotonic") {
        return Some("the unit left active, and became it again".to_owned());
    }
    if of(before, "NRestarts") != of(after, "NRestarts") {
        return Some(format!("systemd has started it again, {} times", of(after, "NRestarts")));
    }
    match (main, server) {
        (Some(main), Some(server)) if main == server => None,
        (Some(main), Some(server)) => Some(format!("MainPID is process {main}, and process {server} serves")),
        (None, _) => Some("MainPID names no process".to_owned()),
        (Some(main), None) => Some(format!("MainPID is process {main}, and nobody of the unit serves")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::check::script::Script;
    use crate::event::{UnitMoment, What};
    use crate::id::{Pid, UpgradeId};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn unit(moment: UnitMoment, shown: [&str; 3], main: Option<i32>) -> What {
        let names = ["ActiveState", "ActiveEnterTimestampMonotonic", "NRestarts"];
        let properties = names.into_iter().zip(shown).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let properties: BTreeMap<_, _> = properties.collect();
        What::Unit { moment, properties, main: main.map(Pid), server: Some(Pid(7)) }
    }

    fn check(shown: [&str; 3], main: Option<i32>, done: bool, want: Verdict) {
        let started = unit(UnitMoment::Started, ["active", "5", "0"], Some(7));
        let mut script = Script::new().event(1, started).trigger(2, 1, 2);
        if done {
            script = script.event(3, What::UpgradeDone { upgrade: UpgradeId(1), by: "version 2 answered".to_owned() });
        }
        let history = script.event(4, unit(UnitMoment::Reloaded, shown, main)).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
    }

    #[test]
    fn a_unit_that_stays_active_with_its_main_process_passes() {
        check(["active", "5", "0"], Some(7), true, Pass);
    }

    #[test]
    fn one_that_leaves_active_or_is_started_again_fails() {
        check(["failed", "5", "0"], Some(7), true, Fail);
        check(["active", "6", "0"], Some(7), true, Fail);
        check(["active", "5", "1"], Some(7), true, Fail);
    }

    #[test]
    fn another_main_process_than_the_one_that_serves_fails() {
        check(["active", "5", "0"], Some(8), true, Fail);
        check(["active", "5", "0"], None, true, Fail);
    }

    #[test]
    fn a_reload_that_upgrades_nothing_fails() {
        check(["active", "5", "0"], Some(7), false, Fail);
    }

    #[test]
    fn without_a_reload_nothing_is_proven() {
        let started = unit(UnitMoment::Started, ["active", "5", "0"], Some(7));
        let history = Script::new().event(1, started).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Inconclusive);
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }
}
