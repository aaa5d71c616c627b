//! tls/handshakes: no TLS handshake fails because of an upgrade.

use crate::check::loss::losses_of_pattern;
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::request::Pattern;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "tls/handshakes",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Tls),
    requirement: "Every TLS handshake that begins during an upgrade succeeds, and its request is answered.",
    source: "RFC 8446 §4; who accepts a connection has its certificate by then",
    reports: &["servers that accept before their certificate is loaded"],
    observed: "200 connections a second to the first address `tls:…` of `also`, each with a handshake and one request, by clients that \
               come back with the tickets that they were given. Lost are handshakes that end by an alert, and whatever is lost on any \
               fresh connection. Whose the certificate is, is not asked.",
    needs: &[Witness::Upgrades, Witness::TlsLoad],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    losses_of_pattern(history, (Pattern::Tls, "TLS connections"), None)
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(class: Option<FailureClass>, want: Verdict) {
        let request = class.map_or_else(|| answered(1001, 1002, 2), |class| failed(1001, 1002, class));
        let script = Script::new().trigger(1000, 1, 2).request(request.of(Pattern::Tls));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want, "{class:?}");
    }

    #[test]
    fn a_handshake_that_ends_by_an_alert_or_with_its_connection_fails() {
        check(None, Pass);
        check(Some(FailureClass::Tls), Fail);
        check(Some(FailureClass::Dropped), Fail);
        check(Some(FailureClass::Refused), Fail);
    }
}
