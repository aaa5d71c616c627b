//! drain/stream-intact: a streamed response that spans the upgrade is complete and in order.

use crate::check::loss::losses_each;
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::request::{FailureClass, Pattern};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/stream-intact",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A streamed response that spans the upgrade is complete and in order.",
    source: "RFC 9112 §8",
    reports: &["puma#2337"],
    observed: "Clients with a receive buffer of 16 KiB read an answer of 16 MiB or more slowly until the upgrade is done, and then the \
               rest: it has the declared length, and each byte is the one that belongs there.",
    needs: &[Witness::Upgrades, Witness::StreamUnread],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    losses_each(
        history,
        "streams",
        &|request, upgrade| request.pattern == Pattern::Reader && request.in_flight_at(upgrade.trigger.not_before),
        &|request| request.failure().is_some_and(|class| class != FailureClass::HarnessFault),
    )
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern, Request};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(request: Request, want: Verdict) {
        let script = Script::new().trigger(1000, 1, 2).request(request.of(Pattern::Reader));
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn a_stream_that_is_cut_fails() {
        check(failed(900, 1300, FailureClass::Truncated), Fail);
    }

    #[test]
    fn a_stream_out_of_order_fails() {
        check(failed(900, 1300, FailureClass::WrongAnswer), Fail);
    }

    #[test]
    fn a_whole_stream_passes() {
        check(answered(900, 1300, 1), Pass);
    }

    #[test]
    fn a_stream_of_after_the_trigger_is_not_judged() {
        check(failed(1100, 1300, FailureClass::Truncated), Pass);
    }
}
