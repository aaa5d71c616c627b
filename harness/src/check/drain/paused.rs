//! Connections that were open at the trigger with their request not yet sent, or half sent.

use crate::check::loss::losses_each;
use crate::history::History;
use crate::request::{FailureClass, Pattern};
use crate::verdict::Finding;

/// Which of them a check judges.
pub(super) struct Paused<'a> {
    /// Their name in evidence ("silent connections").
    pub(super) what: &'a str,
    /// How they pause.
    pub(super) pattern: Pattern,
    /// The classes that are losses in the sense of the check.
    pub(super) lost: &'a dyn Fn(FailureClass) -> bool,
}

/// Findings about the ones that paused at the trigger of each upgrade.
pub(super) fn lost(history: &History, paused: &Paused<'_>) -> Vec<Finding> {
    losses_each(
        history,
        paused.what,
        &|request, upgrade| request.pattern == paused.pattern && request.pauses_at(upgrade.trigger),
        &|request| request.failure().is_some_and(paused.lost),
    )
}

#[cfg(test)]
mod tests {
    use crate::check::script::{answered, failed};
    use crate::clock::{Interval, Nanos};
    use crate::request::{FailureClass, Request};

    /// Whether it pauses at a trigger that lasted from 1000 to 1020 ms.
    fn pauses(request: &Request) -> bool {
        let ms = |at: u64| Nanos(at * 1_000_000);
        request.pauses_at(Interval::new(ms(1000), ms(1020)))
    }

    #[test]
    fn one_that_was_lost_while_the_trigger_lasted_paused_at_it() {
        let lost = |ended| failed(900, ended, FailureClass::ClosedBeforeFirstByte).sent_at(1400);
        assert!(pauses(&lost(1004)));
        assert!(!pauses(&lost(999)));
    }

    #[test]
    fn one_that_was_sent_while_the_trigger_lasted_may_have_been_sent_before_it() {
        assert!(!pauses(&answered(900, 1100, 1).sent_at(1010)));
        assert!(pauses(&answered(900, 1100, 1).sent_at(1021)));
    }

    #[test]
    fn one_that_connected_later_did_not() {
        assert!(!pauses(&answered(1001, 1100, 1).connected_at(1002, 0).sent_at(1050)));
    }
}
