//! drain/spread: how the ends of an old generation's connections spread over time.

use crate::check::drain::farewell::farewells;
use crate::check::{Check, Witness};
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/spread",
    level: Level::Info,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "How the ends of the old generation's connections spread over time: those that end at once come back at once.",
    source: "haproxy's close-spread-time",
    reports: &["haproxy#1614"],
    observed: "When, after the trigger, the last answers came on the busy connections of the old generation: the first, half of \
               them, the last.",
    needs: &[Witness::Versions],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    history.upgrades().iter().map(|upgrade| one(history, upgrade).of(upgrade.id)).collect()
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    let found = farewells(history, upgrade);
    let mut after: Vec<u128> =
        found.ended.iter().map(|it| it.request.ended.since(upgrade.trigger.not_before).as_millis()).collect();
    after.sort_unstable();
    let text = match (after.first(), after.get(after.len() / 2), after.last()) {
        (Some(first), Some(half), Some(last)) => format!(
            "{} busy connections of the old generation ended: the first {first} ms after the trigger, half by {half} ms, the last \
             at {last} ms",
            after.len()
        ),
        _ => "no busy connection of the old generation was seen to end with an answer".to_owned(),
    };
    Finding::pass(Evidence::text(text).event(upgrade.trigger_seq))
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered};
    use crate::event::What;
    use crate::request::Pattern;
    use crate::verdict::Verdict::Pass;

    fn told(ends: &[u64]) -> String {
        let script = Script::new().trigger(1000, 1, 2).event(3000, What::LoadStopped);
        let last = |script: Script, end: &u64| script.request(answered(end - 1, *end, 1).of(Pattern::Busy));
        let findings = (super::CHECK.decide)(&ends.iter().fold(script, last).history());
        assert_eq!(findings[0].verdict, Pass);
        findings[0].evidence[0].text.clone()
    }

    #[test]
    fn first_half_and_last_are_told() {
        let want = "3 busy connections of the old generation ended: the first 200 ms after the trigger, half by 250 ms, the last at 600 ms";
        assert_eq!(told(&[1250, 1200, 1600]), want);
    }

    #[test]
    fn a_drain_without_an_end_does_not_fail() {
        assert_eq!(told(&[]), "no busy connection of the old generation was seen to end with an answer");
    }
}
