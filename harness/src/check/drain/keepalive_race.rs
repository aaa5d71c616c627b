//! drain/keepalive-race: no request on a reused connection meets the close.

use crate::check::counter::moved;
use crate::check::drain::residence::{Manner, lost, manner, normal, residence};
use crate::check::loss::touched;
use crate::check::{Check, Witness};
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::request::FailureClass;
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/keepalive-race",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "No request on a reused connection meets the close of that connection.",
    source: "RFC 9112 §9.3.1, §9.6",
    reports: &["nginx#437", "haproxy#3472"],
    observed: "At least 12 busy kept connections. A lost request is a race when the FIN left before it arrived (`crossed`) \
               or when it lay unread in the server's queue at the close (`unread`), for no longer than three times what the \
               server normally takes, or a tenth of a second. Cross-check per upgrade: unread = ΔTCPAbortOnClose, crossed = \
               ΔTCPAbortOnData.",
    needs: &[Witness::Upgrades, Witness::BusyLoad, Witness::IdleLoad],
    observers: &["counters"],
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let normal = normal(history);
    let mut findings = lost(history, Manner::Race, normal);
    for upgrade in history.upgrades() {
        let account = account(history, &upgrade);
        for finding in findings.iter_mut().filter(|finding| finding.upgrade == Some(upgrade.id)) {
            finding.evidence.extend(account.iter().map(|line| Evidence::text(line.clone())));
            if finding.verdict == Verdict::Fail {
                let longest = touched(history, &upgrade)
                    .filter(|request| manner(request, normal) == Some(Manner::Race))
                    .map(residence)
                    .max()
                    .unwrap_or_default();
                let flag = if longest > normal { " (longer than R: flagged)" } else { "" };
                finding.evidence.push(Evidence::text(format!(
                    "longest residence {:.1} ms; the server normally takes up to R = {:.1} ms{flag}",
                    longest.as_secs_f64() * 1e3,
                    normal.as_secs_f64() * 1e3
                )));
            }
        }
        findings.extend(disagreement(history, &upgrade));
    }
    findings
}

fn count(history: &History, upgrade: &Upgrade, class: FailureClass) -> u64 {
    touched(history, upgrade).filter(|request| request.failure() == Some(class)).count() as u64
}

fn account(history: &History, upgrade: &Upgrade) -> Vec<String> {
    let line = |class: FailureClass, counter: &str| {
        let delta = moved(history, upgrade, &format!("TcpExt.{counter}"))?;
        Some(format!("Σ {class} = {}, Δ{counter} = {delta}", count(history, upgrade, class)))
    };
    let both = [line(FailureClass::Unread, "TCPAbortOnClose"), line(FailureClass::Crossed, "TCPAbortOnData")];
    both.into_iter().flatten().collect()
}

/// Clients and kernel count the same losses: a disagreement takes away a pass, never a fail.
fn disagreement(history: &History, upgrade: &Upgrade) -> Option<Finding> {
    if !history.plan.machine.tier.isolates_network() {
        return None;
    }
    let aborted = moved(history, upgrade, "TcpExt.TCPAbortOnClose")?;
    let unread = count(history, upgrade, FailureClass::Unread);
    // A reset of a fresh connection or of a half-sent answer may have the same cause and move the same counter. So does one behind
    // a FIN, which a client that was quick has not seen: what it asked was taken, as far as it knows. What we closed with unread
    // bytes ourselves moves it, too.
    let others = [FailureClass::Dropped, FailureClass::Truncated, FailureClass::Taken];
    let most =
        unread + others.map(|class| count(history, upgrade, class)).iter().sum::<u64>() + history.account.own_aborts;
    let told = format!("the kernel counted {aborted} closes with unread data (TCPAbortOnClose), the clients");
    let text = if aborted > most {
        format!("{told} only {most}")
    } else if aborted < unread {
        format!("{told} {unread} unread requests")
    } else {
        return None;
    };
    Some(Finding::inconclusive(text).of(upgrade.id))
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn run(residence_ms: u64, class: FailureClass) -> Script {
        // The baseline's slowest answer took 5 ms: R = 5 ms.
        let baseline = answered(500, 505, 1).of(Pattern::Busy).reused();
        let lost = failed(1001, 1001 + residence_ms, class).of(Pattern::Busy).reused();
        Script::new().trigger(1000, 1, 2).request(baseline).request(lost)
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        let worst = findings.iter().map(|it| it.verdict).max().expect("a finding per upgrade");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn an_unread_request_that_met_the_close_fails() {
        check(run(2, FailureClass::Unread), Fail);
        check(run(2, FailureClass::Crossed), Fail);
    }

    #[test]
    fn a_swallowed_request_is_the_other_checks_matter() {
        check(run(200, FailureClass::Unread), Pass);
        check(run(2, FailureClass::Taken), Pass);
    }

    #[test]
    fn fewer_aborts_in_the_kernel_than_at_the_clients_are_told_beside_the_fail() {
        let run = run(2, FailureClass::Unread).counter("before upgrade 1", "TcpExt.TCPAbortOnClose", 0);
        let findings = (super::CHECK.decide)(&run.counter("after upgrade 1", "TcpExt.TCPAbortOnClose", 0).history());
        let verdicts: Vec<Verdict> = findings.iter().map(|it| it.verdict).collect();
        assert_eq!(verdicts, [Fail, Inconclusive]);
    }

    #[test]
    fn a_reset_behind_an_end_that_the_client_had_seen_is_no_disagreement() {
        let run = run(2, FailureClass::Taken).counter("before upgrade 1", "TcpExt.TCPAbortOnClose", 0);
        check(run.counter("after upgrade 1", "TcpExt.TCPAbortOnClose", 1), Pass);
    }

    #[test]
    fn more_aborts_in_the_kernel_than_at_the_clients_take_away_the_pass() {
        let script = Script::new().trigger(1000, 1, 2).counter("before upgrade 1", "TcpExt.TCPAbortOnClose", 0);
        check(script.counter("after upgrade 1", "TcpExt.TCPAbortOnClose", 2), Inconclusive);
    }
}
