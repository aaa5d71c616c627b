//! rollback/dies-after-ready: a new generation dies when the old one has made way, and somebody serves again.

use crate::check::handoff::took_over;
use crate::check::{Check, Witness};
use crate::clock::Nanos;
use crate::event::{Event, Killing, Side, What};
use crate::history::{History, Upgrade};
use crate::manifest::{Capability, Profile};
use crate::request::{FailureClass, Request};
use crate::verdict::{Evidence, Finding, Level};

/// The last clients before the next trigger: those of so long a time, and no fewer than that.
const LAST: std::time::Duration = std::time::Duration::from_millis(300);
const LAST_MIN: usize = 20;

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/dies-after-ready",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Respawn),
    requirement: "When the new generation dies right after it was ready, somebody serves again, and the next upgrade works.",
    source: "the meaning of a master: it outlives those that serve",
    reports: &["pingora"],
    observed: "As soon as an upgrade is done, the harness sends the new generation, and all that it has started, SIGKILL; the main \
               process is never meant. Requests are lost then; two seconds later the last clients, those of 300 ms, are all \
               answered, and the next upgrade takes over. The evidence tells for how long nobody answered.",
    needs: &[Witness::Upgrades],
    observers: &["processes"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let upgrades = history.upgrades();
    let killings = history.find(|what| match what {
        What::Killed(killing) if killing.side == Side::New && !killing.images.is_empty() => Some(killing),
        _ => None,
    });
    let mut findings = Vec::new();
    for (event, killing) in killings {
        let Some(n) = upgrades.iter().position(|upgrade| upgrade.id == killing.upgrade) else { continue };
        findings.push(served_again(history, &upgrades[n], event, killing).of(killing.upgrade));
        findings.push(match upgrades.get(n + 1) {
            Some(next) => took_over::one(history, next).of(next.id),
            None => Finding::inconclusive("no upgrade followed").of(killing.upgrade),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no process of a new generation lived to be killed"));
    }
    findings
}

/// What the last clients met before the next upgrade.
fn served_again(history: &History, upgrade: &Upgrade, event: &Event, killing: &Killing) -> Finding {
    let (killed, until) = (event.at.not_after, upgrade.window_end);
    let from = Nanos(until.0.saturating_sub(u64::try_from(LAST.as_nanos()).unwrap_or(u64::MAX))).max(killed);
    let is_answered = |request: &&Request| request.failure().is_none() && request.ended <= until;
    // Who came so late that the next upgrade had its part in it proves nothing.
    let is_over = |request: &&Request| request.ended <= until || request.began.plus(LAST / 3) <= until;
    let came: Vec<&Request> = history
        .load()
        .filter(|it| it.began >= from && it.began < until && it.failure() != Some(FailureClass::HarnessFault))
        .filter(is_over)
        .collect();
    let again = history.load().filter(|it| it.began >= killed).filter(is_answered).map(|it| it.ended).min();
    let pids: Vec<String> = killing.images.iter().map(|image| image.pid.to_string()).collect();
    let gap = match again {
        Some(again) => format!("the next answer came {} ms later", again.since(killed).as_millis()),
        None => "nothing was answered after that".to_owned(),
    };
    let answered = came.iter().copied().filter(|it| is_answered(it)).count();
    let text = format!(
        "process {} of the new generation was killed by {killed}; {gap}; {answered} of the last {} requests, which began from \
         {from} on, were answered",
        pids.join(", "),
        came.len()
    );
    let evidence = Evidence::text(text).event(upgrade.trigger_seq).event(event.seq);
    if came.len() < LAST_MIN {
        Finding::inconclusive(evidence)
    } else if answered == came.len() {
        Finding::pass(evidence)
    } else {
        Finding::fail(vec![evidence]).on_time()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, answered, failed, image};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// The new generation is killed at 1100 ms, requests come every 4 ms until 3000 ms, when the next upgrade is triggered, and
    /// are answered from `again` on.
    fn killed(again: u64) -> Script {
        let what =
            What::Killed(Killing { upgrade: UpgradeId(1), side: Side::New, images: vec![image(9)], old_listens: None });
        let script = Script::new().trigger(1000, 1, 2).spanning(1090, 1100, what).trigger(3000, 2, 3);
        let script = script.request(answered(3100, 3101, 3));
        (1100..2990).step_by(4).fold(script, |script, at| {
            script.request(if at < again { failed(at, at + 1, FailureClass::Refused) } else { answered(at, at + 1, 2) })
        })
    }

    fn check(script: Script, want: Verdict) {
        let findings = decide(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn who_serves_again_passes_whatever_was_lost_meanwhile() {
        check(killed(1100), Pass);
        check(killed(2500), Pass);
    }

    #[test]
    fn who_does_not_serve_again_fails() {
        check(killed(9999), Fail);
        check(killed(2800), Fail);
    }

    #[test]
    fn few_clients_or_nobody_killed_prove_nothing() {
        let what =
            What::Killed(Killing { upgrade: UpgradeId(1), side: Side::New, images: vec![image(9)], old_listens: None });
        check(Script::new().trigger(1000, 1, 2).event(1100, what), Inconclusive);
        check(Script::new().trigger(1000, 1, 2), Inconclusive);
    }
}
