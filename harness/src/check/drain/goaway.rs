//! drain/goaway: the end of an HTTP/2 connection is announced.

use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/goaway",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: Some(Capability::H2),
    requirement: "The old generation ends HTTP/2 connections by GOAWAY.",
    source: "RFC 9113 §6.8: a server SHOULD send GOAWAY before it closes a connection, so that its client knows which streams were processed",
    reports: &["ingress-nginx#8094"],
    observed: "All HTTP/2 connections that the target ended while the load went on, and those of them in which a GOAWAY had come.",
    needs: &[Witness::Upgrades, Witness::H2Load],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let (ends, announced) = (history.account.h2_ends, history.account.h2_goaways);
    let text = format!("{announced} of {ends} connections ended after a GOAWAY");
    vec![if ends == 0 {
        Finding::inconclusive("the target ended no HTTP/2 connection")
    } else if announced == ends {
        Finding::pass(text)
    } else {
        Finding::fail(vec![text.into()])
    }]
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(ends: u64, announced: u64, want: Verdict) {
        let mut history = Script::new().trigger(1000, 1, 2).history();
        (history.account.h2_ends, history.account.h2_goaways) = (ends, announced);
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want, "{announced} of {ends}");
    }

    #[test]
    fn every_end_is_announced() {
        check(8, 8, Pass);
        check(8, 7, Fail);
        check(0, 0, Inconclusive);
    }
}
