//! rollback/out-of-resources: an upgrade that lacks something changes nothing, or succeeds.

use crate::check::Check;
use crate::check::handoff::took_over;
use crate::check::lateness::dated;
use crate::check::loss::{WITHOUT_RACES, by_class, losses_of};
use crate::check::rollback::exits::{main_ended, served};
use crate::clock::{Interval, Nanos};
use crate::event::{Event, Resource, Restored, What, Withheld};
use crate::history::{History, Upgrade};
use crate::id::Version;
use crate::manifest::{MainProcess, Profile};
use crate::request::{FailureClass, Pattern, Request};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/out-of-resources",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "An upgrade that lacks processes, descriptors or room on the disk leaves the old generation serving, or succeeds; \
                  nothing is lost, and the next one works.",
    source: "fork(2), EAGAIN; open(2), EMFILE; write(2), ENOSPC: each of them may be gone in a moment",
    reports: &["icinga2#8427", "wazuh#821"],
    observed: "Before the trigger the main process is alone in a control group that takes no task more (pids.max); or its limit of \
               open files is lowered to their number, or to the first one that is free (prlimit(2)); or the file system of its directory is bounded \
               to what is in use. Workers keep what they have. From the trigger until the next step no request is lost (races on \
               kept connections apart); a request on a kept connection is answered in `answer_ms`, also meanwhile; what begins \
               when there is enough again is answered; the main process lives, unless another one has taken over; and the next \
               upgrade takes over. Whoever serves in the main process lacks it for new connections, too: these may wait in the \
               queue until then. Where nobody was refused a task, or a byte, or where something was left (and no connection waited for it) and the new \
               version answered with it, a pass is inconclusive.",
    needs: &[],
    observers: &["processes"],
    // Where the upgrade comes about, a target loses by chance what it may lose in any.
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let without = history.upgrades_without();
    if without.is_empty() {
        return vec![Finding::inconclusive("no upgrade was triggered that was to lack something")];
    }
    without.iter().flat_map(|upgrade| one(history, upgrade)).collect()
}

fn one(history: &History, upgrade: &Upgrade) -> Vec<Finding> {
    let mut findings = losses_of(history, upgrade, &WITHOUT_RACES);
    let replaced = history.plan.target.main == MainProcess::Pidfile && successor(history, upgrade);
    let lack = lack(history, upgrade);
    // It may meet the lack before it is told to upgrade.
    let from = lack.map_or(upgrade.trigger.not_before, |(withheld, _)| withheld.0.at.not_before);
    let lacking = Upgrade { trigger: Interval::new(from, upgrade.trigger.not_after), ..*upgrade };
    findings.extend(main_ended(history, &lacking).filter(|_| !replaced));
    let Some((withheld, restored)) = lack else {
        findings.push(Finding::inconclusive("nothing was withheld from it").of(upgrade.id));
        return findings;
    };
    findings.extend(lost_before(history, upgrade, withheld));
    let came_about = newest(history, restored.0.at.not_before) > newest(history, upgrade.trigger.not_before);
    findings.push(in_force(withheld, restored, came_about).of(upgrade.id));
    findings.push(meanwhile(history, upgrade, restored.0.at).of(upgrade.id));
    findings.push(served(history, upgrade, "there was enough again", restored.0.at.not_after));
    let next = history.upgrades().into_iter().find(|next| next.trigger_seq > upgrade.trigger_seq);
    findings.push(match next {
        Some(next) => took_over::one(history, &next).of(next.id),
        None => Finding::inconclusive("no upgrade followed").of(upgrade.id),
    });
    findings
}

/// From when on, and until when.
type Lack<'a> = ((&'a Event, &'a Withheld), (&'a Event, &'a Restored));

fn lack<'a>(history: &'a History, upgrade: &Upgrade) -> Option<Lack<'a>> {
    let id = upgrade.id;
    let withheld = history.find(move |what| match what {
        What::Withheld(withheld) if withheld.upgrade == id => Some(withheld),
        _ => None,
    });
    let restored = history.find(move |what| match what {
        What::Restored(restored) if restored.upgrade == id => Some(restored),
        _ => None,
    });
    withheld.last().zip(restored.last())
}

/// What was lost between the lack and the trigger, by class: some rest on time, others do not.
fn lost_before(history: &History, upgrade: &Upgrade, (event, withheld): (&Event, &Withheld)) -> Vec<Finding> {
    let (from, until) = (event.at.not_before, upgrade.trigger.not_before);
    let lost = |it: &&Request| {
        it.ended > from && it.ended <= until && (WITHOUT_RACES.concerns)(it) && (WITHOUT_RACES.lost)(it)
    };
    let finding = |(class, requests): (FailureClass, Vec<&Request>)| {
        let text = format!(
            "{} requests {class} between {from}, when it got no more {}, and the trigger at {until}",
            requests.len(),
            withheld.resource.word()
        );
        let evidence = Evidence::text(text).requests(requests.iter().map(|it| it.id)).event(event.seq);
        Finding::fail(vec![evidence]).of(upgrade.id).class(class)
    };
    by_class(history.load().filter(lost)).into_iter().map(finding).collect()
}

/// Another main process was found after the trigger.
fn successor(history: &History, upgrade: &Upgrade) -> bool {
    let found = history.find(|what| matches!(what, What::Main { .. }).then_some(()));
    found
        .map(|(event, ())| event)
        .any(|event| event.seq > upgrade.trigger_seq && event.at.not_before < upgrade.window_end)
}

/// The newest version that has answered by then.
fn newest(history: &History, by: Nanos) -> Option<Version> {
    history.load().filter(|it| it.ended <= by).filter_map(Request::version).max()
}

/// It could not be had, and somebody has tried. What little was left is no matter where the upgrade has not come about with it.
fn in_force((begin, withheld): (&Event, &Withheld), (end, restored): (&Event, &Restored), came_about: bool) -> Finding {
    let Withheld { resource, limit, used, waiting, .. } = withheld;
    let (from, until) = (begin.at.not_after, end.at.not_before);
    let text = match (resource, restored.refused) {
        (Resource::Processes, refused) => format!(
            "{used} of {limit} tasks of the main process existed from {from} until {until}, and {} more were refused",
            refused.unwrap_or(0)
        ),
        (Resource::Descriptors, _) => {
            let waiting =
                if *waiting > 0 { format!(", and {waiting} connections waited for one") } else { String::new() };
            format!(
                "{used} of the {limit} numbers that its descriptors may have were in use from {from} until {until}{waiting}"
            )
        }
        (Resource::Disk, refused) => format!(
            "{used} of {limit} bytes of its file system were in use at {from}, and one more was {} at {until}",
            if refused == Some(1) { "refused" } else { "taken" }
        ),
    };
    let outcome = if came_about { "a new version answered meanwhile" } else { "no new version answered meanwhile" };
    let evidence = Evidence::text(format!("{text}; {outcome}")).event(begin.seq).event(end.seq);
    let was_left = used < limit && *waiting == 0;
    if restored.refused == Some(0) || (was_left && came_about) {
        Finding::inconclusive(evidence)
    } else {
        Finding::pass(evidence)
    }
}

/// Kept connections are served while it lacks it. Those that began so late that they may be answered after that prove nothing.
fn meanwhile(history: &History, upgrade: &Upgrade, restored: Interval) -> Finding {
    let answer = history.plan.target.deadlines.answer;
    let from = upgrade.trigger.not_after;
    let is_due = |it: &&Request| it.began >= from && it.began.plus(answer) < restored.not_before;
    let kept: Vec<&Request> = history.load().filter(|it| it.pattern == Pattern::Busy).filter(is_due).collect();
    let in_time = |it: &&Request| it.failure().is_none() && it.ended <= it.began.plus(answer);
    let (in_time, late): (Vec<&Request>, Vec<&Request>) = kept.iter().copied().partition(in_time);
    let answered = in_time.len();
    let text = format!(
        "{answered} of {} requests on kept connections, those that began from {from} on and were due before {}, were answered \
         within {} ms",
        kept.len(),
        restored.not_before,
        answer.as_millis()
    );
    let evidence = Evidence::text(text).event(upgrade.trigger_seq);
    let owes_nothing = upgrade.trigger.not_before.plus(answer) >= restored.not_before;
    // Half of them: whoever serves answers within milliseconds.
    if owes_nothing {
        let text = format!(
            "its `answer_ms`, {} ms, is longer than that lasted: nobody had to be answered",
            answer.as_millis()
        );
        Finding::pass(text)
    } else if kept.is_empty() {
        Finding::inconclusive(evidence)
    } else if answered * 2 >= kept.len() {
        Finding::pass(evidence)
    } else {
        dated(Finding::fail(vec![evidence]), &late, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, answered, failed};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    const UPGRADE: UpgradeId = UpgradeId(1);

    /// Withheld from 1000 ms until 3000 ms, with a good upgrade at 4000 ms; kept connections are asked every 20 ms and answered so
    /// much later.
    fn without(resource: Resource, refused: Option<u64>, takes: u64) -> Script {
        let action = "signal HUP".to_owned();
        let script = Script::new()
            .main(1, 1)
            .request(answered(900, 901, 1))
            .event(1000, What::Withheld(Withheld { upgrade: UPGRADE, resource, limit: 9, used: 9, waiting: 0 }))
            .event(1001, What::TriggeredWithout { upgrade: UPGRADE, action, resource })
            .event(3000, What::Restored(Restored { upgrade: UPGRADE, resource, refused }));
        let kept = |script: Script, at| script.request(answered(at, at + takes, 1).of(Pattern::Busy));
        (1010..2900).step_by(20).fold(script, kept)
    }

    /// Then everybody is answered, and the next upgrade takes over.
    fn then(script: Script) -> Script {
        let script = (3010..3990).step_by(4).fold(script, |script, at| script.request(answered(at, at + 1, 1)));
        script.trigger(4000, 2, 3).request(answered(4100, 4101, 3))
    }

    fn check(script: Script, want: Verdict) {
        let findings = decide(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    fn processes() -> Script {
        without(Resource::Processes, Some(1), 2)
    }

    #[test]
    fn whoever_serves_on_passes_whatever_was_lacking() {
        check(then(processes()), Pass);
        check(then(without(Resource::Descriptors, None, 2)), Pass);
        check(then(without(Resource::Disk, Some(1), 2)), Pass);
    }

    #[test]
    fn new_connections_may_wait_until_there_is_enough() {
        check(then(processes().request(answered(1100, 3050, 1))), Pass);
    }

    #[test]
    fn kept_connections_may_not() {
        check(then(without(Resource::Processes, Some(1), 1500)), Fail);
    }

    #[test]
    fn a_lost_request_fails_and_a_race_does_not() {
        check(then(processes().request(failed(1100, 1101, FailureClass::Refused))), Fail);
        check(then(processes().request(failed(3100, 3101, FailureClass::Dropped))), Fail);
        check(then(processes().request(failed(1100, 1101, FailureClass::Crossed))), Pass);
    }

    #[test]
    fn what_is_lost_between_the_lack_and_the_trigger_is_its_too() {
        let early = |request| {
            let mut history = then(processes().request(request)).history();
            let bounded = history.events.iter_mut().find(|event| matches!(event.what, What::Withheld(_)));
            bounded.expect("it is told").at.not_before = Nanos(500_000_000);
            decide(&history).iter().map(|it| it.verdict).max()
        };
        assert_eq!(early(failed(490, 600, FailureClass::Dropped)), Some(Fail));
        assert_eq!(early(failed(490, 600, FailureClass::Crossed)), Some(Pass));
        assert_eq!(early(failed(490, 499, FailureClass::Dropped)), Some(Pass));
    }

    #[test]
    fn a_main_process_may_end_only_when_another_one_has_taken_over() {
        check(then(processes().exited(1500, 1)), Fail);
        let by_pidfile = |script: Script| {
            let mut history = script.history();
            history.plan.target.main = MainProcess::Pidfile;
            decide(&history).iter().map(|it| it.verdict).max()
        };
        assert_eq!(by_pidfile(then(processes().exited(1500, 1))), Some(Fail));
        assert_eq!(by_pidfile(then(processes().main(1400, 2).exited(1500, 1))), Some(Pass));
    }

    #[test]
    fn what_comes_after_it_is_owed_too() {
        // Answered so much later, and the next upgrade by this version.
        let then = |takes, version| {
            let asked = |script: Script, at| script.request(answered(at, at + takes, 1));
            let script = (3010..3990).step_by(4).fold(processes(), asked);
            script.trigger(4000, 2, 3).request(answered(4100, 4101, version))
        };
        check(then(1, 3), Pass);
        check(then(1000, 3), Fail);
        check(then(1, 1), Fail);
        // Nobody has asked.
        check(processes().trigger(4000, 2, 3).request(answered(4100, 4101, 3)), Inconclusive);
    }

    #[test]
    fn what_was_left_is_no_matter_unless_the_upgrade_came_about_with_it() {
        let left = |script: Script, waiting| {
            let mut history = script.history();
            let withheld = history.events.iter_mut().find_map(|event| match &mut event.what {
                What::Withheld(withheld) => Some(withheld),
                _ => None,
            });
            let withheld = withheld.expect("it is told");
            (withheld.used, withheld.waiting) = (8, waiting);
            decide(&history).iter().map(|it| it.verdict).max()
        };
        let descriptors = || without(Resource::Descriptors, None, 2);
        let came_about = || then(descriptors().request(answered(2000, 2001, 2)));
        assert_eq!(left(then(descriptors()), 0), Some(Pass));
        assert_eq!(left(came_about(), 0), Some(Inconclusive));
        // A thread that waits in accept(2) has its descriptor already; what waits in the queue shows that there is no other.
        assert_eq!(left(came_about(), 3), Some(Pass));
    }

    #[test]
    fn a_lack_that_nobody_has_met_proves_nothing() {
        check(then(without(Resource::Processes, Some(0), 2)), Inconclusive);
        check(then(without(Resource::Disk, Some(0), 2)), Inconclusive);
        check(Script::new().trigger(1000, 1, 2), Inconclusive);
    }
}
