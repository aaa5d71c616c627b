//! drain/stream-intact: a streamed response that spans the upgrade is complete and in order.

use crate::check::loss::{Loss, losses_of};
use crate::check::{Check, Witness};
use crate::clock::Nanos;
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::request::{FailureClass, Pattern, Request};
use crate::verdict::{Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/stream-intact",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A streamed response that spans the upgrade is complete and in order.",
    source: "RFC 9112 §8",
    reports: &["puma#2337"],
    observed: "Clients with a receive buffer of 16 KiB read an answer of 16 MiB or more slowly until the upgrade is done, and then the \
               rest: it has the declared length, and each byte is the one that belongs there.",
    needs: &[Witness::Upgrades, Witness::StreamUnread],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    history.upgrades().iter().flat_map(|upgrade| of_upgrade(history, upgrade)).collect()
}

/// A stream that is cut long after its reader was let go may have been cut by a drain that ends in time, because we read too late:
/// whether that was so is told by what the load was late.
fn of_upgrade(history: &History, upgrade: &Upgrade) -> Vec<Finding> {
    let drains_until = drains_until(history, upgrade);
    let is_late = |request: &Request| drains_until.is_some_and(|until| request.ended >= until);
    let spans =
        |request: &Request| request.pattern == Pattern::Reader && request.in_flight_at(upgrade.trigger.not_before);
    let is_cut = |request: &Request| request.failure().is_some_and(|class| class != FailureClass::HarnessFault);
    let judged = |lost: &dyn Fn(&Request) -> bool| {
        losses_of(history, upgrade, &Loss { what: "streams", concerns: &spans, lost })
    };
    let mut findings = judged(&|request| is_cut(request) && !is_late(request));
    let late = judged(&|request| is_cut(request) && is_late(request));
    findings.extend(late.into_iter().filter(|finding| finding.verdict == Verdict::Fail).map(Finding::on_time));
    findings
}

/// Until then no drain ends: as long as is promised; where nothing is, half of what is allowed. A reader that is let go needs far less
/// (two streams through the narrowest path of ours: one second), and where that is not so the processors are lacking. `None` where
/// the upgrade was not done, and no reader was let go.
fn drains_until(history: &History, upgrade: &Upgrade) -> Option<Nanos> {
    let deadlines = &history.plan.target.deadlines;
    let least = deadlines.drain_least.unwrap_or(deadlines.drain / 2);
    upgrade.done.map(|done| done.not_before.plus(least))
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::event::What;
    use crate::id::UpgradeId;
    use crate::request::{FailureClass, Pattern, Request};
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(request: Request, want: Verdict) {
        let script = Script::new().trigger(1000, 1, 2).request(request.of(Pattern::Reader));
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_stream_that_is_cut_fails() {
        check(failed(900, 1300, FailureClass::Truncated), Fail);
    }

    #[test]
    fn a_stream_out_of_order_fails() {
        check(failed(900, 1300, FailureClass::WrongAnswer), Fail);
    }

    #[test]
    fn a_whole_stream_passes() {
        check(answered(900, 1300, 1), Pass);
    }

    #[test]
    fn a_cut_of_when_drains_may_end_rests_on_time() {
        let cut = |at: u64| {
            let done = What::UpgradeDone { upgrade: UpgradeId(1), by: "version 2 answered".to_owned() };
            let request = failed(900, at, FailureClass::Truncated).of(Pattern::Reader);
            let history = Script::new().trigger(1000, 1, 2).event(1100, done).request(request).history();
            let findings = (super::CHECK.decide)(&history);
            findings.into_iter().filter(|finding| finding.verdict == Fail).map(|it| it.ground).collect::<Vec<_>>()
        };
        let half = Script::new().history().plan.target.deadlines.drain.as_millis() as u64 / 2;
        assert_eq!(cut(1100 + half - 1), [Ground::Fact]);
        assert_eq!(cut(1100 + half), [Ground::Time]);
    }

    #[test]
    fn a_stream_of_after_the_trigger_is_not_judged() {
        check(failed(1100, 1300, FailureClass::Truncated), Pass);
    }
}
