//! handoff/old-stops-accepting: once the handoff is complete, no new connection reaches an older generation.

use std::time::Duration;

use crate::check::loss::touched;
use crate::check::{Check, Witness};
use crate::clock::Nanos;
use crate::history::{History, Upgrade};
use crate::manifest::{Done, Profile};
use crate::request::Request;
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/old-stops-accepting",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "After the declared completion of the handoff, no connection that begins later reaches an older generation.",
    source: "the meaning of a handoff; nginx \"Upgrading Executable on the Fly\"",
    reports: &["acra#710", "envoy#8691"],
    observed: "The version in the first answer of each connection that began after the completion: the manifest's `done`, \
               where that is a sign of the target's own (`output` or `steps`). Without such a sign the generations may answer \
               side by side until the old one is gone or its drain deadline has passed, whichever is first, and never later.",
    needs: &[Witness::Upgrades, Witness::Versions, Witness::FreshLoad],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let upgrades = history.upgrades();
    let loaded = upgrades.iter().filter(|upgrade| history.load().any(|it| it.began < upgrade.trigger.not_before));
    let mut findings: Vec<Finding> = loaded.map(|upgrade| one(history, upgrade).of(upgrade.id)).collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no upgrade was made under load"));
    }
    findings
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    let Some(completion) = complete(history, upgrade) else {
        return Finding::inconclusive("the handoff was never complete");
    };
    let (from, by) = (completion.from, &completion.by);
    // However much later: an upgrade may be over before the load has opened another connection.
    let later: Vec<&Request> = history.load().filter(|it| is_fresh(it) && it.began >= from).collect();
    let old: Vec<&&Request> = later.iter().filter(|it| it.version() < Some(upgrade.version)).collect();
    let text = match later.len() {
        0 => format!("no connection began after {by} ({from})"),
        count => {
            format!("{} of {count} connections that began after {by} ({from}) reached an older generation", old.len())
        }
    };
    let mut evidence = vec![Evidence::text(text).event(upgrade.trigger_seq).requests(old.iter().map(|it| it.id))];
    evidence.extend(overlap(history, upgrade));
    let Some(first) = old.first() else {
        // What is gone cannot answer; what only says that it takes no more must be tried.
        let tried = !later.is_empty() || completion.sign == Sign::Gone;
        return Finding::new(if tried { Verdict::Pass } else { Verdict::Inconclusive }, evidence);
    };
    let version = first.version().map(|version| version.to_string()).unwrap_or_default();
    let late = first.began.since(from).as_millis();
    evidence.push(Evidence::text(format!(
        "request {}: its connection began at {}, {late} ms later, and version {version} answered",
        first.id, first.began
    )));
    let finding = Finding::fail(evidence);
    if completion.sign == Sign::Deadline { finding.on_time() } else { finding }
}

/// From when on only the new generation may take connections.
struct Completion {
    from: Nanos,
    sign: Sign,
    /// The sign in words.
    by: String,
}

/// What says that the handoff is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// The target itself, as its manifest declares.
    Declared,
    /// The old generation's end.
    Gone,
    /// Its drain deadline has passed.
    Deadline,
}

fn complete(history: &History, upgrade: &Upgrade) -> Option<Completion> {
    let done = upgrade.done?.not_after;
    let declared = |by: String| Some(Completion { from: done, sign: Sign::Declared, by });
    match &history.plan.target.restart.as_ref()?.done {
        Done::Output(text) => declared(format!("the output {text:?}")),
        Done::Steps => declared("the last restart step returned".to_owned()),
        // The harness saw these, the target did not declare anything by them.
        Done::NewVersion | Done::OldMainExit => {
            let drain = history.plan.target.deadlines.drain;
            let deadline = done.plus(drain);
            Some(match upgrade.settled.map(|settled| settled.not_after) {
                Some(from) if from <= deadline => {
                    Completion { from, sign: Sign::Gone, by: "the old generation was gone".to_owned() }
                }
                _ => {
                    let by = format!("the drain deadline of {} ms", drain.as_millis());
                    Completion { from: deadline, sign: Sign::Deadline, by }
                }
            })
        }
    }
}

/// The first requests of connections that were answered within the upgrade's window, with a version.
fn fresh<'a>(history: &'a History, upgrade: &Upgrade) -> impl Iterator<Item = &'a Request> {
    touched(history, upgrade).filter(|request| is_fresh(request))
}

fn is_fresh(request: &Request) -> bool {
    request.nth_on_connection == 0 && request.version().is_some()
}

/// How long both generations took connections: no fault by itself.
fn overlap(history: &History, upgrade: &Upgrade) -> Option<Evidence> {
    let first = fresh(history, upgrade).filter(|it| it.version() >= Some(upgrade.version)).map(|it| it.began).min()?;
    let last = fresh(history, upgrade).filter(|it| it.version() < Some(upgrade.version)).map(|it| it.began).max()?;
    let both = if last > first { last.since(first) } else { Duration::ZERO };
    Some(Evidence::text(format!("both generations took connections for {:.1} ms", both.as_secs_f64() * 1e3)))
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered};
    use crate::event::What;
    use crate::history::History;
    use crate::id::UpgradeId;
    use crate::manifest::Done;
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// An upgrade that is done at 1100 ms and settled at 1500 ms.
    fn upgraded() -> Script {
        let done = What::UpgradeDone { upgrade: UpgradeId(1), by: "said so".to_owned() };
        let script = Script::new().request(answered(900, 901, 1)).trigger(1000, 1, 2);
        script.event(1100, done).settled(1500, 1).event(9000, What::LoadStopped)
    }

    fn check(done: Done, script: Script, want: Verdict) {
        let mut history: History = script.history();
        history.plan.target.restart.as_mut().expect("it restarts").done = done;
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    fn said() -> Done {
        Done::Output("draining".to_owned())
    }

    #[test]
    fn an_old_answer_to_a_connection_of_before_the_sign_passes() {
        check(said(), upgraded().request(answered(1099, 1300, 1)).request(answered(1101, 1102, 2)), Pass);
    }

    #[test]
    fn an_old_answer_to_a_connection_that_began_after_the_sign_fails() {
        check(said(), upgraded().request(answered(1101, 1102, 1)), Fail);
        check(Done::Steps, upgraded().request(answered(1101, 1102, 1)), Fail);
    }

    #[test]
    fn a_kept_connection_may_stay_with_the_old_generation() {
        let script = upgraded().request(answered(1101, 1102, 2));
        check(said(), script.request(answered(1103, 1104, 1).reused()), Pass);
    }

    #[test]
    fn without_a_sign_both_may_answer_until_the_old_one_is_gone() {
        check(Done::NewVersion, upgraded().request(answered(1499, 1500, 1)), Pass);
        check(Done::NewVersion, upgraded().request(answered(1501, 1502, 1)), Fail);
    }

    #[test]
    fn an_old_answer_after_the_drain_deadline_fails_on_time() {
        let done = What::UpgradeDone { upgrade: UpgradeId(1), by: "version 2 answered".to_owned() };
        let script = Script::new().request(answered(900, 901, 1)).trigger(1000, 1, 2).event(1100, done);
        // The drain deadline of written histories is a second.
        let script = script.request(answered(2099, 2100, 1)).request(answered(2101, 2102, 1));
        let history = script.event(9000, What::LoadStopped).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!((findings[0].verdict, findings[0].ground), (Fail, Ground::Time), "{findings:#?}");
    }

    #[test]
    fn a_sign_that_no_connection_tried_proves_nothing() {
        check(said(), upgraded().request(answered(1099, 1300, 1)), Inconclusive);
        check(Done::NewVersion, upgraded().request(answered(1099, 1300, 1)), Pass);
    }

    #[test]
    fn an_upgrade_of_before_the_load_is_not_judged() {
        let script = Script::new().trigger(1000, 1, 2).request(answered(1101, 1102, 1));
        check(Done::Steps, script, Inconclusive);
    }

    #[test]
    fn an_upgrade_that_is_never_done_proves_nothing() {
        check(said(), Script::new().trigger(1000, 1, 2).request(answered(1101, 1102, 1)), Inconclusive);
    }
}
