//! handoff/backlog-kept: connections completed but not accepted at the takeover are all answered.

use crate::check::loss::{Loss, losses};
use crate::check::{Check, Witness};
use crate::event::What;
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::request::Pattern;
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/backlog-kept",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Stall),
    requirement: "Connections that were complete but not yet accepted at the takeover are all answered.",
    source: "listen(2): the queue belongs to the socket, and dies with it",
    reports: &["sozu#1362", "pingora#427"],
    observed: "The accepting processes are stalled, 64 clients connect and send at once, then the upgrade runs. Each must \
               be answered. Witness: the old listener's receive queue at the trigger.",
    needs: &[Witness::Upgrades, Witness::BacklogNotEmpty],
    observers: &["listeners"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = losses(
        history,
        &Loss {
            what: "parked connections",
            concerns: &|request| request.pattern == Pattern::Parked,
            lost: &|request| request.pattern == Pattern::Parked,
        },
    );
    let destroyed: Vec<(u64, u32)> = history
        .find(|what| match what {
            What::QueuedDestroyed { count, .. } => Some(*count),
            _ => None,
        })
        .map(|(event, count)| (event.seq, count))
        .collect();
    for finding in findings.iter_mut().filter(|finding| finding.verdict == Verdict::Fail) {
        for (seq, count) in &destroyed {
            let text = format!("the kernel destroyed {count} connections in the accept queue of a closing listener");
            finding.evidence.push(Evidence::text(text).event(*seq));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Verdict::{Fail, Pass};

    #[test]
    fn a_parked_connection_that_is_reset_fails() {
        let lost = failed(900, 1100, FailureClass::Dropped).of(Pattern::Parked);
        let script = Script::new().trigger(1000, 1, 2).request(lost);
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Fail);
    }

    #[test]
    fn parked_connections_all_answered_pass() {
        let script = Script::new().trigger(1000, 1, 2).request(answered(900, 1100, 2).of(Pattern::Parked));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Pass);
    }
}
