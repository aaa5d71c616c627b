//! trigger/killed-new: the new side of an upgrade is killed, and the old one serves on.

use crate::check::trigger::killed::survived;
use crate::check::{Check, Witness};
use crate::event::Side;
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "trigger/killed-new",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "When the new generation is killed in the middle of an upgrade, new connections are served and the next upgrade works.",
    source: "signal(7): SIGKILL cannot be caught, and out-of-memory killers send it (oom_score_adj in proc(5))",
    reports: &["uwsgi#1038"],
    observed: "As soon as there is a process that began after the trigger, the harness sends it, and all that it has started, SIGKILL; \
               the main process is never meant. Requests that began after its end are answered, none is lost, and the \
               next upgrade takes over. A target that can be slow to initialise (`slow_init`) is, so that it is not ready then. \
               Where the new version has answered by then, or nobody of the old side holds a listener any more, nothing is proven.",
    needs: &[Witness::Upgrades],
    observers: &["processes"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    survived(history, Side::New)
}

#[cfg(test)]
mod tests {
    use crate::check::script::answered;
    use crate::check::trigger::killed::tests::{either, killed, next};
    use crate::event::Side;

    #[test]
    fn clients_that_come_later_are_served_and_the_next_upgrade_works() {
        either(Side::New);
    }

    #[test]
    fn one_that_had_taken_over_by_then_proves_nothing() {
        let script = next(killed(Side::New, &[5]).request(answered(1005, 1009, 2)).request(answered(1030, 1031, 2)));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, crate::verdict::Verdict::Inconclusive);
    }

    #[test]
    fn the_other_side_proves_nothing() {
        let history = crate::check::script::Script::new().trigger(1000, 1, 2).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, crate::verdict::Verdict::Inconclusive);
    }
}
