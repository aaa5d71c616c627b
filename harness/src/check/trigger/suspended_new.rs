//! trigger/suspended-new: the new side of an upgrade stands still before it is ready, and the old one serves on.

use crate::check::trigger::suspended::carried_on;
use crate::check::{Check, Witness};
use crate::event::Side;
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "trigger/suspended-new",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::SlowInit),
    requirement: "While a new generation that is not ready stands still, the old one serves on; nothing is lost, and the next upgrade works.",
    source: "signal(7), SIGSTOP; the meaning of ready: as long as nobody has said it, nobody is (rollback/hangs)",
    reports: &["sanic#2619"],
    observed: "As soon as a process begins after the trigger, and before it is initialised, the harness sends it, and all that it has \
               started, SIGSTOP, and SIGCONT later; whether it is waited for or given up is the target's business. From \
               the trigger until the next one no request is lost (races on kept connections apart); a fresh connection that comes \
               meanwhile is answered in `answer_ms`; what begins after that is answered; and the next upgrade takes over. Where it \
               had said by then that it was ready a pass is inconclusive.",
    needs: &[Witness::Upgrades],
    observers: &["processes"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    carried_on(history, Side::New)
}

#[cfg(test)]
mod tests {
    use crate::check::trigger::suspended::tests::either;
    use crate::event::Side;

    #[test]
    fn clients_are_served_meanwhile_and_the_next_upgrade_works() {
        either(Side::New);
    }
}
