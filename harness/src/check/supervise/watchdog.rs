//! supervise/watchdog: who feeds a watchdog feeds it after an upgrade too.

use std::collections::BTreeMap;

use crate::check::Check;
use crate::event::{UnitMoment, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/watchdog",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Watchdog),
    requirement: "WATCHDOG=1 keeps coming through an upgrade.",
    source: "systemd.service(5), WatchdogSec=; sd_watchdog_enabled(3)",
    reports: &["httpd#728"],
    observed: "A unit with WatchdogSec=500ms under a real systemd, which kills whoever says nothing for so long, and starts it again. \
               Two such times after a reload it has to be active, never started again, and fed since.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let shown = |wanted: UnitMoment| {
        let mut all = history.find(move |what| match what {
            What::Unit { moment, properties, .. } if *moment == wanted => Some(properties),
            _ => None,
        });
        all.next()
    };
    let (Some((_, before)), Some((event, after))) = (shown(UnitMoment::Reloaded), shown(UnitMoment::Watched)) else {
        return vec![Finding::inconclusive("no watchdog waited for it after a reload")];
    };
    if !history.upgrades().iter().any(|upgrade| upgrade.done.is_some()) {
        return vec![Finding::inconclusive("it was not upgraded")];
    }
    vec![match wrong(before, after) {
        // A machine that stands still feeds nobody.
        Some(text) => Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time(),
        None => Finding::pass(Evidence::text("fed since the upgrade, it was not started again").event(event.seq)),
    }]
}

fn wrong(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Option<String> {
    let of = |shown: &BTreeMap<String, String>, name: &str| shown.get(name).cloned().unwrap_or_default();
    let (state, restarts) = (of(after, "ActiveState"), of(after, "NRestarts"));
    if restarts != "0" {
        return Some(format!("systemd missed its WATCHDOG=1, killed it and started it again, {restarts} times"));
    }
    if state != "active" {
        return Some(format!("the unit is {state}, with the result {}", of(after, "Result")));
    }
    let fed = of(before, "WatchdogTimestampMonotonic") != of(after, "WatchdogTimestampMonotonic");
    (!fed).then(|| "it has not said WATCHDOG=1 since the upgrade".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::check::script::Script;
    use crate::event::{UnitMoment, What};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn unit(moment: UnitMoment, shown: [&str; 3]) -> What {
        let names = ["ActiveState", "NRestarts", "WatchdogTimestampMonotonic"];
        let properties = names.into_iter().zip(shown).map(|(name, value)| (name.to_owned(), value.to_owned()));
        What::Unit { moment, properties: properties.collect::<BTreeMap<_, _>>(), main: None, server: None }
    }

    fn check(shown: [&str; 3], done: bool, want: Verdict) {
        let mut script = Script::new().trigger(1, 1, 2);
        if done {
            script = script.event(2, What::UpgradeDone { upgrade: UpgradeId(1), by: "version 2 answered".to_owned() });
        }
        let script = script.event(3, unit(UnitMoment::Reloaded, ["active", "0", "5"]));
        let history = script.event(4, unit(UnitMoment::Watched, shown)).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
    }

    #[test]
    fn one_that_is_fed_and_lives_passes() {
        check(["active", "0", "9"], true, Pass);
    }

    #[test]
    fn one_that_was_killed_or_not_fed_fails() {
        check(["active", "1", "9"], true, Fail);
        check(["failed", "0", "9"], true, Fail);
        check(["active", "0", "5"], true, Fail);
    }

    #[test]
    fn without_an_upgrade_or_a_watchdog_nothing_is_proven() {
        check(["active", "0", "9"], false, Inconclusive);
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }
}
