//! handoff/half-open-kept: handshakes that are in SYN_RECV at the takeover complete, and their requests are answered.

use crate::check::loss::{Loss, losses};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::request::Pattern;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/half-open-kept",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "Handshakes that are half done at the takeover are completed, and their requests answered.",
    source: "listen(2); ip-sysctl, tcp_migrate_req: a handshake belongs to the listening socket that took its SYN",
    reports: &["bpf msg30220"],
    observed: "16 clients connect while the kernel drops the last ACK of each handshake: they believe to be connected, the \
               server's side is in SYN_RECV. Then the upgrade runs, and when the old generation is gone each client sends its \
               request, which completes the handshake. Each must be answered. Witness: the handshakes in SYN_RECV right before \
               the trigger.",
    needs: &[Witness::Upgrades, Witness::HandshakesHalfOpen],
    observers: &[],
    // Certain where the handshakes die with a socket; where a generation that should have gone takes the next client, by chance.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let half_open = |it: &crate::request::Request| it.pattern == Pattern::HalfOpen;
    losses(history, &Loss { what: "half-open handshakes", concerns: &half_open, lost: &half_open })
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Verdict::{Fail, Pass};

    #[test]
    fn a_handshake_whose_request_is_reset_fails() {
        let lost = failed(900, 1500, FailureClass::Dropped).of(Pattern::HalfOpen).by("ECONNRESET");
        let script = Script::new().trigger(1000, 1, 2).request(lost);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, Fail, "{findings:#?}");
    }

    #[test]
    fn handshakes_whose_requests_are_all_answered_pass() {
        let script = Script::new().trigger(1000, 1, 2).request(answered(900, 1500, 2).of(Pattern::HalfOpen));
        let script = script.request(failed(900, 1500, FailureClass::Dropped).of(Pattern::Parked));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Pass);
    }
}
