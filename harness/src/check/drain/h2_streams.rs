//! drain/h2-streams: the streams that a server has taken are answered, also when it goes.

use crate::check::loss::losses_of_pattern;
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::request::{FailureClass, Pattern};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/h2-streams",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::H2),
    requirement: "HTTP/2 streams up to the last one of a GOAWAY are answered whole.",
    source: "RFC 9113 §6.8: streams above it were not processed, those up to it might have been; §8.7: what was not can be sent again",
    reports: &["pingora aece993"],
    observed: "8 connections to the first address `h2:…` of `also`, each with a new stream about every 20 ms, of which a fourth take long. \
               Lost are streams that were reset, or whose connection ended, unless they lay above the last stream of a GOAWAY or were \
               refused (REFUSED_STREAM).",
    needs: &[Witness::Upgrades, Witness::H2Load],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    losses_of_pattern(history, (Pattern::H2, "streams"), Some(FailureClass::StreamRefused))
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(class: Option<FailureClass>, want: Verdict) {
        let request = class.map_or_else(|| answered(1001, 1002, 2), |class| failed(1001, 1002, class));
        let script = Script::new().trigger(1000, 1, 2).request(request.of(Pattern::H2).reused());
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want, "{class:?}");
    }

    #[test]
    fn a_stream_that_was_not_taken_may_be_refused_and_nothing_else() {
        check(None, Pass);
        check(Some(FailureClass::StreamRefused), Pass);
        check(Some(FailureClass::Dropped), Fail);
        check(Some(FailureClass::Truncated), Fail);
    }
}
