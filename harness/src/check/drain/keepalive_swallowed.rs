//! drain/keepalive-swallowed: no request on a reused connection is taken in and lost.

use std::time::Duration;

use crate::check::drain::residence::{Manner, lost, normal, residence, unread_max};
use crate::check::loss::touched;
use crate::check::{Check, Witness};
use crate::clock::Interval;
use crate::history::History;
use crate::id::UpgradeId;
use crate::manifest::Profile;
use crate::request::FailureClass;
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/keepalive-swallowed",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "No request on a reused connection is taken in and then lost.",
    source: "RFC 9110 §9.2.2; RFC 9112 §9.3.1",
    reports: &["gunicorn on HUP (20 runs)", "apache graceful"],
    observed: "At least 12 busy kept connections. Lost are: a request that the server read and answered with nothing \
               (`taken`: EOF with every byte acknowledged), one that lay unread for more than three times as long as the \
               server normally takes and a tenth of a second, and one that was never answered.",
    needs: &[Witness::Upgrades, Witness::BusyLoad, Witness::IdleLoad],
    observers: &[],
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let normal = normal(history);
    let mut findings = lost(history, Manner::Swallowed, normal);
    for finding in findings.iter_mut().filter(|finding| finding.verdict == Verdict::Fail) {
        let line = format!("the server normally takes up to R = {:.1} ms", normal.as_secs_f64() * 1e3);
        finding.evidence.push(Evidence::text(line));
    }
    findings.into_iter().map(|finding| dated(history, finding, normal)).collect()
}

/// That a request lay unread for so long rests on time: who does not run reads nothing.
fn dated(history: &History, finding: Finding, normal: Duration) -> Finding {
    let unread = finding.class == Some(FailureClass::Unread);
    match finding.upgrade.filter(|_| unread).and_then(|upgrade| longest_unread(history, upgrade)) {
        Some((longest, within)) => finding.late_within(longest.saturating_sub(unread_max(normal)), within),
        None => finding,
    }
}

/// How long a request lay unread at most in an upgrade, and when.
fn longest_unread(history: &History, upgrade: UpgradeId) -> Option<(Duration, Interval)> {
    let upgrade = history.upgrades().into_iter().find(|it| it.id == upgrade)?;
    let unread =
        touched(history, &upgrade).filter(|it| it.failure() == Some(FailureClass::Unread) && it.nth_on_connection > 0);
    let longest = unread.max_by_key(|it| residence(it))?;
    Some((residence(longest), Interval::new(longest.sent?, longest.ended)))
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(residence_ms: u64, class: FailureClass, want: Verdict) {
        let baseline = answered(500, 505, 1).of(Pattern::Busy).reused();
        let lost = failed(1001, 1001 + residence_ms, class).of(Pattern::Busy).reused();
        let script = Script::new().trigger(1000, 1, 2).request(baseline).request(lost);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_request_that_was_read_and_not_answered_fails() {
        check(1, FailureClass::Taken, Fail);
    }

    #[test]
    fn a_request_that_lay_unread_far_longer_than_normal_fails() {
        check(101, FailureClass::Unread, Fail);
    }

    #[test]
    fn a_wait_that_nobody_would_tell_is_no_swallowing() {
        check(99, FailureClass::Unread, Pass);
    }

    #[test]
    fn how_long_it_lay_there_may_be_the_machine_s_doing_and_that_it_was_read_may_not() {
        let ground = |class| {
            let baseline = answered(500, 505, 1).of(Pattern::Busy).reused();
            let lost = failed(1001, 1186, class).of(Pattern::Busy).reused();
            let script = Script::new().trigger(1000, 1, 2).request(baseline).request(lost);
            let finding = (super::CHECK.decide)(&script.history()).remove(0);
            (finding.ground, finding.late_by_ms)
        };
        assert_eq!(ground(FailureClass::Unread), (Ground::Time, Some(85)));
        assert_eq!(ground(FailureClass::Taken), (Ground::Fact, None));
    }

    #[test]
    fn each_upgrade_is_late_by_its_own_request() {
        let lost =
            |at: u64, residence: u64| failed(at, at + residence, FailureClass::Unread).of(Pattern::Busy).reused();
        let script = Script::new().trigger(1000, 1, 2).trigger(2000, 2, 3);
        let script = script.request(answered(500, 505, 1).of(Pattern::Busy).reused());
        let script = script.request(lost(1001, 185)).request(lost(2001, 385));
        let late: Vec<_> = (super::CHECK.decide)(&script.history()).iter().map(|it| it.late_by_ms).collect();
        assert_eq!(late, [Some(85), Some(285)]);
    }

    #[test]
    fn a_race_passes_here() {
        check(4, FailureClass::Unread, Pass);
        check(1, FailureClass::Crossed, Pass);
    }
}
