//! trigger/suspended-old: the old side of an upgrade stands still, and the new one serves.

use crate::check::trigger::suspended::carried_on;
use crate::check::{Check, Witness};
use crate::event::Side;
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "trigger/suspended-old",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "While the old generation stands still new connections are served by the new one; nothing is lost, and the next upgrade works.",
    source: "signal(7), SIGSTOP; accept(2): whoever has the socket can take what waits there",
    reports: &["fastsocket#39"],
    observed: "As soon as a process that began after the trigger holds the listener, the harness sends SIGSTOP to every process that \
               held it before, except a main process that the upgrade before has left the main one, and SIGCONT later. From the trigger \
               until the next one no request is lost (races on kept connections apart): what the old one had taken in may wait \
               for it. A fresh connection that comes meanwhile is answered in `answer_ms`; what begins after that is answered; \
               and the next upgrade takes over.",
    needs: &[Witness::Upgrades],
    observers: &["processes"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    carried_on(history, Side::Old)
}

#[cfg(test)]
mod tests {
    use crate::check::trigger::suspended::tests::either;
    use crate::event::Side;

    #[test]
    fn clients_are_served_meanwhile_and_the_next_upgrade_works() {
        either(Side::Old);
    }
}
