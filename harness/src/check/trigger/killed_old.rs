//! trigger/killed-old: the old side of an upgrade is killed, and the new one serves.

use crate::check::trigger::killed::survived;
use crate::check::{Check, Witness};
use crate::event::Side;
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "trigger/killed-old",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "When the old generation is killed in the middle of an upgrade, new connections are served and the next upgrade works.",
    source: "signal(7): SIGKILL cannot be caught, and out-of-memory killers send it (oom_score_adj in proc(5))",
    reports: &["uwsgi#1038"],
    observed: "As soon as a process that began after the trigger holds the listener, the harness sends SIGKILL to every process that held \
               it before, except a main process that the upgrade before has left the main one. Requests that began after their end \
               are answered, none is lost, and the next upgrade takes over.",
    needs: &[Witness::Upgrades],
    observers: &["processes"],
    // It depends on how far the new side has come when the old one is killed.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    survived(history, Side::Old)
}

#[cfg(test)]
mod tests {
    use crate::check::trigger::killed::tests::either;
    use crate::event::Side;

    #[test]
    fn clients_that_come_later_are_served_and_the_next_upgrade_works() {
        either(Side::Old);
    }

    #[test]
    fn the_other_side_proves_nothing() {
        let history = crate::check::script::Script::new().trigger(1000, 1, 2).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, crate::verdict::Verdict::Inconclusive);
    }
}
