//! drain/late-work: who draws on the time that old connections are promised gets an answer.

use std::time::Duration;

use crate::check::drain::held::changes;
use crate::check::{Check, Witness};
use crate::event::{Answer, HeldChange};
use crate::history::{History, Upgrade};
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/late-work",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: Some(Capability::DrainDeadline),
    requirement: "A request that an old connection completes shortly before it may be cut is answered.",
    source: "gunicorn graceful_timeout: the time to finish what is being served",
    reports: &["ray#63996"],
    observed: "A connection that sent half a request before the trigger sends the rest 200 ms before `deadlines.drain_least_ms` are \
               over, counted from the trigger, and gets its answer. A rest that was sent later than 100 ms before that instant \
               proves nothing: the server needs some time.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// The least time that a server is given to read a head and answer it.
const ROOM: Duration = Duration::from_millis(100);

fn decide(history: &History) -> Vec<Finding> {
    let upgrades = history.upgrades();
    let findings: Vec<Finding> = upgrades.iter().filter_map(|upgrade| of_one(history, upgrade)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no held connection completed its request")] } else { findings }
}

fn of_one(history: &History, upgrade: &Upgrade) -> Option<Finding> {
    let (sent, connection, _) =
        changes(history, upgrade).find(|(_, _, change)| matches!(change, HeldChange::Completed))?;
    let (answered, answer) = changes(history, upgrade).find_map(|(event, of, change)| match change {
        HeldChange::Answered(answer) if of == connection => Some((event, answer)),
        _ => None,
    })?;
    let least = history.plan.target.deadlines.drain_least.unwrap_or_default();
    let sent_after = sent.at.not_after.since(upgrade.trigger.not_before);
    let text = format!(
        "connection {connection} completed its request {} ms after the trigger ({} ms are promised)",
        sent_after.as_millis(),
        least.as_millis()
    );
    let evidence = Evidence::text(text).event(upgrade.trigger_seq).event(sent.seq).event(answered.seq);
    let finding = match answer {
        _ if sent_after + ROOM > least => Finding::inconclusive(evidence),
        Answer::Answered => Finding::pass(evidence),
        Answer::Refused => Finding::fail(vec![evidence, Evidence::text("refused")]),
        // Silence may be slowness; words are what the socket said.
        Answer::Missing(why) => Finding::fail(vec![evidence, Evidence::text(why.clone())]).on_time(),
    };
    Some(finding.of(upgrade.id))
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, HeldChange, What};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// A rest that is sent at this time, after an upgrade that was triggered at 1000 ms; 500 ms are promised.
    fn check(sent: u64, answer: Answer, want: Verdict) {
        let held = |change| What::HeldConnection { upgrade: UpgradeId(1), connection: 4, change };
        let script = Script::new().trigger(1000, 1, 2).event(sent, held(HeldChange::Completed));
        let script = script.event(sent + 2, held(HeldChange::Answered(answer)));
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    fn missing() -> Answer {
        Answer::Missing("closed without an answer".to_owned())
    }

    #[test]
    fn a_late_request_that_is_answered_passes() {
        check(1300, Answer::Answered, Pass);
    }

    #[test]
    fn one_that_is_dropped_fails() {
        check(1300, missing(), Fail);
    }

    #[test]
    fn one_that_leaves_the_server_no_time_proves_nothing() {
        check(1450, missing(), Inconclusive);
        let history = Script::new().trigger(1000, 1, 2).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Inconclusive);
    }
}
