//! drain/close-code: the close frame of a WebSocket says that the server restarts or goes.

use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// Going away, and service restart.
const PROPER: [u16; 2] = [1001, 1012];

/// The check.
pub static CHECK: Check = Check {
    id: "drain/close-code",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Websocket),
    requirement: "The close frame that ends a WebSocket of the old generation has the code 1001 or 1012.",
    source: "RFC 6455 §7.4.1: 1001, such as a server going down; IANA WebSocket Close Code Number Registry: 1012, service restart",
    reports: &["ingress-nginx#8094"],
    observed: "The codes of all close frames that came from the target while the load went on. One without a code counts as 1005. A \
               client that is told 1000 has no reason to come back.",
    needs: &[Witness::Upgrades, Witness::WebsocketLoad],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let codes = &history.account.close_codes;
    let told: Vec<String> = codes.iter().map(|(code, count)| format!("{code} in {count}")).collect();
    let text = format!("codes of close frames: {}", told.join(", "));
    vec![if codes.is_empty() {
        Finding::inconclusive("the target closed no WebSocket by a close frame")
    } else if codes.keys().all(|code| PROPER.contains(code)) {
        Finding::pass(text)
    } else {
        Finding::fail(vec![text.into()])
    }]
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(codes: &[(u16, u64)], want: Verdict) {
        let mut history = Script::new().trigger(1000, 1, 2).history();
        history.account.close_codes = codes.iter().copied().collect();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want, "{codes:?}");
    }

    #[test]
    fn going_away_and_restarting_are_reasons() {
        check(&[(1012, 16)], Pass);
        check(&[(1001, 3), (1012, 13)], Pass);
        check(&[(1005, 16)], Fail);
        check(&[(1000, 1), (1012, 15)], Fail);
        check(&[], Inconclusive);
    }
}
