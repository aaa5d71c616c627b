//! handoff/no-stall: no connect during an upgrade waits for a second SYN, and no accept queue overflows.

use std::time::Duration;

use crate::check::counter::moved;
use crate::check::loss::touched;
use crate::check::{Check, Witness};
use crate::event::What;
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::request::{Pattern, Request};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/no-stall",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "No connect during an upgrade waits because the accept queue is full.",
    source: "listen(2); tcp(7), TCP_INFO; RFC 6298 §2 (the first retransmit comes after a second)",
    reports: &["systemfd's listen backlog of 1"],
    observed: "At least 200 fresh connections per second through the upgrade: none retransmitted its SYN \
               (tcpi_total_retrans above 0 and a handshake of 900 ms or more), and neither ListenOverflows nor \
               ListenDrops moved.",
    needs: &[Witness::Upgrades, Witness::FreshLoad],
    observers: &["counters"],
    chance: false,
    unproven_bare: None,
    decide,
};

/// A handshake this long had its SYN sent again: the kernel's first retransmit comes after a second.
const STALLED: Duration = Duration::from_millis(900);
/// What the load opens at most: 300 fresh connections, and whatever its other patterns open anew.
const CONNECTS_PER_SECOND: f64 = 400.0;
/// What the kernel counts when a queue is full.
const COUNTERS: [&str; 2] = ["TcpExt.ListenOverflows", "TcpExt.ListenDrops"];

fn decide(history: &History) -> Vec<Finding> {
    history.upgrades().iter().map(|upgrade| one(history, upgrade).of(upgrade.id)).collect()
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    let connects: Vec<&Request> = touched(history, upgrade)
        .filter(|request| request.nth_on_connection == 0 && request.pattern != Pattern::Parked)
        .filter(|request| request.began >= upgrade.trigger.not_before)
        .collect();
    let stalled: Vec<&&Request> = connects.iter().filter(|request| retransmitted_syn(request)).collect();
    let deltas = COUNTERS.map(|name| moved(history, upgrade, name));
    let counted: Vec<String> = COUNTERS
        .iter()
        .zip(deltas)
        .filter_map(|(name, delta)| Some(format!("Δ{} = {}", name.trim_start_matches("TcpExt."), delta?)))
        .collect();
    let text = format!("{} of {} connects sent their SYN again", stalled.len(), connects.len());
    let evidence = Evidence::text(text).requests(stalled.iter().map(|request| request.id));
    let counters = Evidence::text(counted.join(", "));
    if !stalled.is_empty() || deltas.iter().flatten().any(|delta| *delta > 0) {
        let trigger = format!("upgrade {} was triggered at {}", upgrade.id, upgrade.trigger.not_before);
        let finding = Finding::fail(vec![evidence, counters, Evidence::text(trigger).event(upgrade.trigger_seq)]);
        // On a machine that stands still the queue of a correct server fills too; not sooner than this.
        return match room(history, upgrade) {
            Some(room) => finding.late_by(room),
            None => finding.on_time(),
        };
    }
    let mut finding = Finding::pass(evidence);
    if !counted.is_empty() {
        finding.evidence.push(counters);
    }
    finding
}

/// For how long nobody need accept until the queue that there was at the trigger is full.
fn room(history: &History, upgrade: &Upgrade) -> Option<Duration> {
    let dumps = history.find(|what| if let What::Listeners { rows } = what { Some(rows) } else { None });
    let before = dumps.take_while(|(event, _)| event.seq < upgrade.trigger_seq).last()?.1;
    let backlog = before.iter().map(|row| row.backlog).min()?;
    Some(Duration::from_secs_f64(f64::from(backlog) / CONNECTS_PER_SECOND))
}

fn retransmitted_syn(request: &Request) -> bool {
    let handshake = request.connected.unwrap_or(request.ended).since(request.began);
    request.retransmits > 0 && handshake >= STALLED
}

#[cfg(test)]
mod tests {
    use super::COUNTERS;
    use crate::check::script::{Script, answered};
    use crate::request::Request;
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(request: Request, overflows: u64, want: Verdict) {
        let script = Script::new().trigger(1000, 1, 2).request(request);
        let script = script.counter("before upgrade 1", COUNTERS[0], 3);
        let script = script.counter("after upgrade 1", COUNTERS[0], 3 + overflows);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_connect_that_sent_its_syn_again_fails() {
        check(answered(1001, 2010, 2).connected_at(2009, 1), 0, Fail);
    }

    #[test]
    fn a_queue_that_overflowed_fails() {
        check(answered(1001, 1002, 2), 2, Fail);
    }

    #[test]
    fn a_connect_at_once_passes() {
        check(answered(1001, 1002, 2), 0, Pass);
    }

    #[test]
    fn data_that_was_sent_again_is_no_stalled_connect() {
        check(answered(1001, 2010, 2).connected_at(1001, 1), 0, Pass);
    }
}
