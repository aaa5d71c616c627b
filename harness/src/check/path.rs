//! The path between a target and its clients, where a scenario has it between two network namespaces: its faults, what they met, and
//! which side sent the resets.

use super::witness::Sighting;
use super::{Check, counter};
use crate::event::{PathCleared, PathDisturbed, PathMet};
use crate::history::{Disturbance, History};
use crate::id::UpgradeId;
use crate::request::FailureClass;
use crate::scenario::{Network, Step};
use crate::verdict::Evidence;

/// What a check judges may rest on what the path did.
#[must_use]
pub fn concerns(check: &Check) -> bool {
    ["handoff/", "drain/"].iter().any(|area| check.id.starts_with(area))
}

/// Whether each fault that the scenario asks for was there, and met something.
#[must_use]
pub fn look(history: &History) -> Vec<Sighting> {
    let asked =
        history.plan.scenario.script().steps.iter().filter(|it| matches!(it, Step::UpgradeAcross { .. })).count();
    let mut seen: Vec<Sighting> = history.disturbances().map(|it| sighting(history, &it)).collect();
    if seen.len() < asked {
        let text = format!("the path had a fault across {} of {asked} upgrades", seen.len());
        seen.push(Sighting { upgrade: None, met: false, text });
    }
    seen
}

fn sighting(history: &History, disturbance: &Disturbance<'_>) -> Sighting {
    let (begin, PathDisturbed { upgrade, fault }) = disturbance.begin;
    let from = begin.at.not_after;
    let Some((end, PathCleared { met, .. })) = disturbance.end else {
        let text = format!("the path's fault ({}) of {from} was not seen to end", fault.word());
        return Sighting { upgrade: Some(*upgrade), met: false, text };
    };
    let until = end.at.not_before;
    let (met, text) = match *met {
        // Whether the target had anything to say meanwhile is its own business.
        PathMet::Lost { to_target, to_clients } => {
            let text = format!("{to_target} packets to the target and {to_clients} to its clients were lost");
            (to_target > 0, text)
        }
        PathMet::Rejected { connects } => {
            let refused = history.load().filter(|it| it.failure() == Some(FailureClass::Refused));
            let refused = refused.filter(|it| disturbance.may_reject(it, history.end())).count();
            let text =
                format!("the path rejected {connects} connects, and {refused} were refused, which accuses nobody");
            (connects > 0, text)
        }
        PathMet::Shaped(it) => {
            let text = format!(
                "{} bytes of the target's went through a token bucket, packets waited {} times, {} were lost, and {} bytes waited in the end",
                it.bytes, it.waits, it.lost, it.waiting_bytes
            );
            (it.waits > 0, text)
        }
    };
    Sighting { upgrade: Some(*upgrade), met, text: format!("from {from} until {until} {text}") }
}

/// What the path did across an upgrade (across all of them, for what is about none), and how many resets each side sent.
#[must_use]
pub fn account(history: &History, upgrade: Option<UpgradeId>) -> Vec<Evidence> {
    if history.plan.scenario.script().network != Network::Veth {
        return Vec::new();
    }
    let concerned = |id: UpgradeId| upgrade.is_none_or(|it| it == id);
    let faults = history.disturbances().filter(|it| concerned(it.begin.1.upgrade)).map(|it| {
        let evidence = Evidence::text(sighting(history, &it).text).event(it.begin.0.seq);
        it.end.map_or(evidence.clone(), |(end, _)| evidence.event(end.seq))
    });
    let resets = history.upgrades().into_iter().filter(|it| concerned(it.id)).filter_map(|it| {
        let target = counter::moved(history, &it, RESETS)?;
        let clients = counter::moved_at_clients(history, &it, RESETS)?;
        let text = format!(
            "across upgrade {} the target's side sent {target} RST, its clients' side {clients} (OutRsts)",
            it.id
        );
        Some(Evidence::text(text))
    });
    faults.chain(resets).collect()
}

/// A RST that the path sends is counted by neither side.
const RESETS: &str = "Tcp.OutRsts";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::script::{Script, answered, failed};
    use crate::event::{PassedShape, PathFault, What};

    /// An upgrade that is triggered at 1000 ms, across such a fault.
    pub(crate) fn across(script: Script, from: u64, fault: PathFault, met: PathMet, until: u64) -> Script {
        let upgrade = UpgradeId(1);
        script
            .event(from, What::PathDisturbed(PathDisturbed { upgrade, fault }))
            .trigger(1000, 1, 2)
            .event(until, What::PathCleared(PathCleared { upgrade, met }))
    }

    /// A request that was begun then and ended without an answer, around an upgrade whose path loses packets from 990 ms until 1300 ms.
    pub(crate) fn dropped_across_loss(began: u64) -> History {
        let met = PathMet::Lost { to_target: 1, to_clients: 1 };
        let script = across(Script::new(), 990, PathFault::Drop, met, 1300);
        script.request(failed(began, 1400, FailureClass::Dropped)).history()
    }

    fn check(fault: PathFault, met: PathMet, want: bool) {
        let seen = look(&across(Script::new(), 990, fault, met, 1300).history());
        assert_eq!(seen.iter().map(|it| it.met).collect::<Vec<_>>(), [want], "{seen:?}");
    }

    #[test]
    fn a_fault_that_nothing_has_met_is_no_witness() {
        for packets in [0, 7] {
            check(PathFault::Drop, PathMet::Lost { to_target: packets, to_clients: 0 }, packets > 0);
            check(PathFault::Reject, PathMet::Rejected { connects: packets }, packets > 0);
            let shape = crate::event::Shape { rate_kbit: 1, burst_bytes: 2000, latency_ms: 1 };
            let waits = u32::try_from(packets).expect("few");
            let passed = PassedShape { bytes: 100, waits, lost: 0, waiting_bytes: 0 };
            check(PathFault::Shape(shape), PathMet::Shaped(passed), packets > 0);
        }
    }

    #[test]
    fn only_a_refusal_while_the_path_rejects_may_be_the_paths() {
        let met = PathMet::Rejected { connects: 1 };
        let rejects = across(Script::new(), 990, PathFault::Reject, met, 1300).history();
        let drops = across(Script::new(), 990, PathFault::Drop, PathMet::Lost { to_target: 1, to_clients: 1 }, 1300);
        let refused = |began, ended| failed(began, ended, FailureClass::Refused);
        assert!(rejects.rejected_by_path(&refused(1100, 1101)));
        assert!(rejects.rejected_by_path(&refused(1299, 1301)), "at the edge nobody can tell");
        assert!(!rejects.rejected_by_path(&refused(1301, 1302)));
        assert!(!rejects.rejected_by_path(&failed(1100, 1101, FailureClass::Dropped)), "it was connected");
        assert!(!rejects.rejected_by_path(&answered(1100, 1101, 1)));
        assert!(!drops.history().rejected_by_path(&refused(1100, 1101)), "such a path refuses nothing");
    }

    #[test]
    fn each_side_is_told_with_its_own_resets() {
        let script = |clients| {
            let script = Script::new().beyond_veth().trigger(1000, 1, 2);
            let script = script.counter("before upgrade 1", RESETS, 1).counter("after upgrade 1", RESETS, 4);
            let count = |moment: &str, value| What::ClientCounters {
                moment: moment.to_owned(),
                values: [(RESETS.to_owned(), value)].into(),
            };
            if clients {
                script.event(1, count("before upgrade 1", 2)).event(2, count("after upgrade 1", 2)).history()
            } else {
                script.history()
            }
        };
        let told = account(&script(true), Some(UpgradeId(1)));
        assert_eq!(told[0].text, "across upgrade 1 the target's side sent 3 RST, its clients' side 0 (OutRsts)");
        assert_eq!(account(&script(true), Some(UpgradeId(2))), []);
        assert_eq!(account(&script(false), None), []);
    }
}
