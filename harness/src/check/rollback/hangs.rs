//! rollback/hangs: a new version that never becomes ready is given up, and changes nothing.

use crate::check::Check;
use crate::check::rollback::exits::serves_on;
use crate::event::{Broken, What};
use crate::history::{History, Upgrade};
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/hangs",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::ExecSelf),
    requirement: "A new generation that never becomes ready is given up within the declared time, the old one serves on, and nothing \
                  is lost.",
    source: "nginx \"Upgrading Executable on the Fly\": the old processes go on until the new ones have started",
    reports: &["shellflip"],
    observed: "As for rollback/exits, with an executable that lives on once it has left its mark, deaf to nothing. Its process is \
               gone within `deadlines.give_up_ms`; where the manifest declares none, one that is there after \
               `deadlines.upgrade_ms` is no verdict. The harness ends it then.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = serves_on(history, Broken::Hangs);
    let ran = history.upgrades_to(Broken::Hangs).into_iter().filter(|upgrade| upgrade.done.is_some());
    findings.extend(ran.map(|upgrade| given_up(history, &upgrade)));
    findings
}

fn given_up(history: &History, upgrade: &Upgrade) -> Finding {
    let mut ends = history.find(|what| match what {
        What::BrokenEnded { upgrade: of, by_harness } if *of == upgrade.id => Some(*by_harness),
        _ => None,
    });
    let (Some((ended, by_harness)), Some(ran)) = (ends.next(), upgrade.done) else {
        return Finding::inconclusive("the run ended before the new generation did").of(upgrade.id);
    };
    let lived = ended.at.not_before.since(ran.not_before).as_millis();
    let evidence = |text: String| Evidence::text(text).event(upgrade.trigger_seq).event(ended.seq);
    let finding = match (by_harness, history.plan.target.deadlines.give_up) {
        (false, _) => Finding::pass(evidence(format!("the new generation was given up {lived} ms after it had begun"))),
        (true, Some(limit)) => {
            let text =
                format!("the new generation lived {lived} ms after it had begun ({} allowed)", limit.as_millis());
            Finding::fail(vec![evidence(text)]).on_time()
        }
        (true, None) => Finding::inconclusive(evidence(format!(
            "the new generation lived {lived} ms after it had begun; the manifest declares no time (`deadlines.give_up_ms`)"
        ))),
    };
    finding.of(upgrade.id)
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::event::{Broken, What};
    use crate::id::UpgradeId;
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// An upgrade that hangs at 1000 ms, the next one at 3000 ms, and a request every 4 ms in between.
    fn hung() -> Script {
        let script = Script::new().broken_by(1000, 1, Broken::Hangs).broken_ran(1005, 1);
        (1010..2900).step_by(4).fold(script, |script, at| script.request(answered(at, at + 1, 1)))
    }

    fn ended(script: Script, at: u64, by_harness: bool) -> Script {
        script.event(at, What::BrokenEnded { upgrade: UpgradeId(1), by_harness })
    }

    fn check(script: Script, declares: bool, want: Verdict) {
        let mut history = script.trigger(3000, 2, 2).history();
        if !declares {
            history.plan.target.deadlines.give_up = None;
        }
        let findings = (super::CHECK.decide)(&history);
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn one_that_is_given_up_passes() {
        check(ended(hung(), 1900, false), true, Pass);
        check(ended(hung(), 1900, false), false, Pass);
    }

    #[test]
    fn one_that_is_waited_for_for_ever_fails_where_a_time_is_declared() {
        check(ended(hung(), 2010, true), true, Fail);
        check(ended(hung(), 2010, true), false, Inconclusive);
    }

    #[test]
    fn a_request_that_is_lost_meanwhile_fails() {
        check(ended(hung().request(failed(1500, 1501, FailureClass::Refused)), 1900, false), true, Fail);
    }

    #[test]
    fn an_end_that_was_not_seen_proves_nothing() {
        check(hung(), true, Inconclusive);
    }
}
