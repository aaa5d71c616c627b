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
