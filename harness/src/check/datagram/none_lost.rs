//! datagram/none-lost: no datagram goes without an answer because of an upgrade.

use crate::check::loss::losses_of_pattern;
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::request::Pattern;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "datagram/none-lost",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Udp),
    requirement: "Every datagram that arrives during an upgrade is answered.",
    source: "udp(7): what nobody has read waits in the buffer of the socket, as long as anybody has that open",
    reports: &["envoy#34732"],
    observed: "16 flows, each a socket of its own that sends a datagram about every 40 ms (400/s together, far below what a buffer holds), \
               to the first address `udp:…` of `also`. Each is answered by its own bytes within two seconds. What is not, although a later \
               one of its flow was, is `lost`; if no later one was, it is `hung`; where nobody has the port it is `refused`.",
    needs: &[Witness::Upgrades, Witness::FlowLoad],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = losses_of_pattern(history, (Pattern::Flow, "datagrams"), None);
    let unpaired = history.account.unpaired_datagrams;
    if let Some(finding) = findings.first_mut().filter(|_| unpaired > 0) {
        finding.evidence.push(Evidence::text(format!("{unpaired} answers came twice, or too late")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Verdict::{self, Fail, Pass};
    use crate::verdict::{Finding, Ground};

    fn judged(class: Option<FailureClass>, pattern: Pattern) -> Finding {
        let request = match class {
            Some(class) => failed(1001, 3001, class),
            None => answered(1001, 1002, 2),
        };
        let script = Script::new().trigger(1000, 1, 2).settled(1100, 1).request(request.of(pattern));
        (super::CHECK.decide)(&script.history()).remove(0)
    }

    fn check(class: Option<FailureClass>, want: Verdict) {
        assert_eq!(judged(class, Pattern::Flow).verdict, want, "{class:?}");
    }

    #[test]
    fn a_datagram_without_an_answer_fails() {
        check(None, Pass);
        check(Some(FailureClass::Lost), Fail);
        check(Some(FailureClass::Hung), Fail);
        check(Some(FailureClass::Refused), Fail);
        check(Some(FailureClass::HarnessFault), Pass);
    }

    #[test]
    fn one_that_others_of_its_flow_have_overtaken_is_a_fact() {
        assert_eq!(judged(Some(FailureClass::Lost), Pattern::Flow).ground, Ground::Fact);
        assert_eq!(judged(Some(FailureClass::Hung), Pattern::Flow).ground, Ground::Time);
    }

    #[test]
    fn requests_are_no_datagrams() {
        assert_eq!(judged(Some(FailureClass::Refused), Pattern::Fresh).verdict, Pass);
    }
}
