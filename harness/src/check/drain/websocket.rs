//! drain/websocket: a WebSocket ends by a close frame, and until then every message comes back.

use crate::check::loss::losses_of_pattern;
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::request::{FailureClass, Pattern};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/websocket",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Websocket),
    requirement: "The messages on a WebSocket are answered until a close frame ends it.",
    source: "RFC 6455 §7.1.1: an endpoint closes by a close frame first; §7.1.5: a connection that ends without one has failed (1006)",
    reports: &["nginx-gateway-fabric#5524"],
    observed: "16 WebSockets, each with a message about every 20 ms that has to come back, and opened anew when it was closed. Lost are: a \
               message whose connection ended without a close frame, also one that ended so before it was sent; one that was answered \
               by another message, or not in time; an opening handshake that came to nothing. A message that crossed a close frame is \
               none: its client knows that it was not answered (§5.5.1).",
    needs: &[Witness::Upgrades, Witness::WebsocketLoad],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    losses_of_pattern(history, (Pattern::Websocket, "messages"), Some(FailureClass::CloseFrame))
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(class: Option<FailureClass>, want: Verdict) {
        let request = class.map_or_else(|| answered(1001, 1002, 2), |class| failed(1001, 1002, class));
        let script = Script::new().trigger(1000, 1, 2).request(request.of(Pattern::Websocket).reused());
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want, "{class:?}");
    }

    #[test]
    fn a_message_may_cross_a_close_frame_and_nothing_else() {
        check(None, Pass);
        check(Some(FailureClass::CloseFrame), Pass);
        check(Some(FailureClass::NoCloseFrame), Fail);
        check(Some(FailureClass::WrongAnswer), Fail);
        check(Some(FailureClass::Hung), Fail);
        check(Some(FailureClass::Refused), Fail);
    }
}
