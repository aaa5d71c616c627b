//! ready/not-early: nothing is served, and no readiness announced, before initialisation is complete.

use crate::check::notice::notices;
use crate::check::{Check, Witness};
use crate::clock::{Interval, Nanos};
use crate::event::{Event, What};
use crate::history::History;
use crate::id::{UpgradeId, Version};
use crate::manifest::{Capability, Profile};
use crate::request::Request;
use crate::target::TargetSlowInit;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/not-early",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::SlowInit),
    requirement: "No request is served and no readiness announced before initialisation is complete.",
    source: "the meaning of readiness; sd_notify(3): READY=1 says that startup is finished",
    reports: &["einhorn", "gunicorn#1374"],
    observed: "The start, and an upgrade under load, of a target whose initialisation is slowed down (`slow_init`): the line by \
               which each generation says that it is complete, written after the last look that found the pipe empty (10 ms). \
               What ended before that came too early: an answer with the generation's version, READY=1 where the target claims \
               `notify`, and at the start the declared readiness.",
    needs: &[Witness::Upgrades, Witness::Versions],
    observers: &["output"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let Some(slow) = &history.plan.target.slow_init else {
        return vec![Finding::inconclusive("the manifest does not say how it is slowed down (`slow_init`)")];
    };
    let beginnings = beginnings(history);
    if beginnings.is_empty() {
        return vec![Finding::inconclusive("nothing was launched")];
    }
    beginnings.iter().map(|beginning| one(history, slow, beginning)).collect()
}

/// The beginning of a generation.
struct Beginning {
    at: Interval,
    seq: u64,
    version: Version,
    upgrade: Option<UpgradeId>,
    /// When the next one begins, or the stop.
    end: Nanos,
}

impl Beginning {
    fn holds(&self, at: Interval) -> bool {
        at.not_after >= self.at.not_before && at.not_before < self.end
    }

    fn of(&self, finding: Finding) -> Finding {
        match self.upgrade {
            Some(id) => finding.of(id),
            None => finding,
        }
    }

    fn name(&self) -> &'static str {
        if self.upgrade.is_some() { "the trigger" } else { "the launch" }
    }
}

/// The first launch, and every upgrade.
fn beginnings(history: &History) -> Vec<Beginning> {
    let stop = history.stop_asked();
    let launched = history.find(|what| matches!(what, What::Launched { .. }).then_some(()));
    let start = launched.into_iter().next().map(|(event, ())| Beginning {
        at: event.at,
        seq: event.seq,
        version: Version(1),
        upgrade: None,
        end: history.first_trigger().unwrap_or(stop),
    });
    let upgrades = history.upgrades();
    let upgrades = upgrades.iter().map(|upgrade| Beginning {
        at: upgrade.trigger,
        seq: upgrade.trigger_seq,
        version: upgrade.version,
        upgrade: Some(upgrade.id),
        end: upgrade.window_end,
    });
    start.into_iter().chain(upgrades).collect()
}

/// The lines that say that initialisation is complete.
fn lines<'a>(history: &'a History, slow: &'a TargetSlowInit) -> impl Iterator<Item = &'a Event> {
    let said = |what: &What| matches!(what, What::Output { line, .. } if line.contains(&slow.output)).then_some(());
    history.find(said).map(|(event, ())| event)
}

fn one(history: &History, slow: &TargetSlowInit, beginning: &Beginning) -> Finding {
    let Some(line) = lines(history, slow).find(|line| beginning.holds(line.at)) else {
        let text = format!("no line with {:?} came after {}", slow.output, beginning.name());
        return beginning.of(Finding::inconclusive(Evidence::text(text).event(beginning.seq)));
    };
    let early = early(history, beginning, line.at.not_before);
    if !early.is_empty() {
        return beginning.of(Finding::fail(early.into_iter().map(|it| it.event(line.seq)).collect()));
    }
    let took = line.at.not_after.since(beginning.at.not_before);
    let name = beginning.name();
    if took < slow.takes {
        let (took, takes) = (took.as_millis(), slow.takes.as_millis());
        let text = format!("initialisation was complete {took} ms after {name}, and was to take {takes} ms");
        return beginning.of(Finding::inconclusive(Evidence::text(text).event(line.seq)));
    }
    // The start is asked for its readiness all the time.
    let meanwhile = history.load().filter(|it| it.began > beginning.at.not_after && it.began < line.at.not_before);
    let asked = meanwhile.count();
    if asked == 0 && beginning.upgrade.is_some() {
        let text = "no request was sent while it initialised";
        return beginning.of(Finding::inconclusive(Evidence::text(text).event(line.seq)));
    }
    let text = format!(
        "initialisation was complete {} ms after {name}; nothing of version {} was answered or announced before \
         ({asked} requests began meanwhile)",
        took.as_millis(),
        beginning.version
    );
    beginning.of(Finding::pass(Evidence::text(text).event(beginning.seq).event(line.seq)))
}

/// Everything that came before this instant and was to come after it.
fn early(history: &History, beginning: &Beginning, complete: Nanos) -> Vec<Evidence> {
    let mut early = Vec::new();
    let lead = |at: Nanos| complete.since(at).as_millis();
    let answers: Vec<&Request> = answers(history, beginning).filter(|it| it.ended < complete).collect();
    if let Some(first) = answers.first() {
        let (count, version, before) = (answers.len(), beginning.version, lead(first.ended));
        let text = format!(
            "version {version} gave {count} answers before its initialisation was complete, the first {before} ms"
        );
        early.push(Evidence::text(text).requests(answers.iter().map(|it| it.id)));
    }
    let announced = notices(history).into_iter().filter(|notice| {
        notice.says("READY=1") && notice.at.not_before > beginning.at.not_after && notice.at.not_after < complete
    });
    early.extend(announced.map(|notice| {
        let before = lead(notice.at.not_after);
        Evidence::text(format!("READY=1 came {before} ms before its initialisation was complete")).event(notice.seq)
    }));
    if beginning.upgrade.is_none() {
        let ready = history.find(|what| if let What::Ready { by } = what { Some(by) } else { None });
        early.extend(ready.filter(|(event, _)| event.at.not_after < complete).map(|(event, by)| {
            let before = lead(event.at.not_after);
            let text = format!("it was ready ({by}) {before} ms before its initialisation was complete");
            Evidence::text(text).event(event.seq)
        }));
    }
    early
}

/// The answers of a generation in its own time, by their end.
fn answers<'a>(history: &'a History, beginning: &'a Beginning) -> impl Iterator<Item = &'a Request> {
    let own = |it: &&Request| it.version() >= Some(beginning.version) && beginning.holds(Interval::at(it.ended));
    let mut own: Vec<&Request> = history.load().filter(own).collect();
    own.sort_by_key(|it| it.ended);
    own.into_iter()
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered};
    use crate::event::What;
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn initialised(script: Script, at: u64) -> Script {
        script.event(at, What::Output { stream: "stderr".to_owned(), line: "slave-7 initialised".to_owned() })
    }

    /// Launched at 0, initialised at 600 and ready at 610 ms; triggered at 1000 ms. Written histories take 500 ms.
    fn started() -> Script {
        let script = Script::new().event(0, What::Launched { pid: Pid(5), command: Vec::new() });
        let ready = What::Ready { by: "answers on http".to_owned() };
        initialised(script, 600).event(610, ready).request(answered(900, 901, 1)).trigger(1000, 1, 2)
    }

    fn check(script: Script, want: Verdict) {
        let script = script.event(3000, What::StopAsked { action: "signal TERM to main".to_owned() });
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn answers_of_the_old_one_until_the_new_one_is_initialised_pass() {
        let script = initialised(started().request(answered(1200, 1201, 1)), 1600);
        check(script.request(answered(1601, 1602, 2)), Pass);
    }

    #[test]
    fn an_answer_of_the_new_one_before_that_fails() {
        check(initialised(started().request(answered(1200, 1201, 2)), 1600), Fail);
    }

    #[test]
    fn ready_before_that_fails_and_after_it_passes() {
        let during = || started().request(answered(1200, 1201, 1));
        check(initialised(during().notified(1300, Some(5), &["READY=1"]), 1600), Fail);
        check(initialised(during().notified(1300, Some(5), &["RELOADING=1"]), 1600), Pass);
        check(initialised(during(), 1600).notified(1700, Some(5), &["READY=1"]), Pass);
        // What the generation before said.
        check(initialised(during().notified(611, Some(5), &["READY=1"]), 1600), Pass);
    }

    #[test]
    fn a_start_that_is_ready_before_that_fails() {
        let script = Script::new().event(0, What::Launched { pid: Pid(5), command: Vec::new() });
        let ready = What::Ready { by: "answers on http".to_owned() };
        check(initialised(script.event(20, ready), 600), Fail);
    }

    #[test]
    fn an_initialisation_that_was_not_slow_or_met_nobody_proves_nothing() {
        check(initialised(started().request(answered(1050, 1051, 1)), 1100), Inconclusive);
        check(initialised(started(), 1600), Inconclusive);
        check(started().request(answered(1200, 1201, 2)), Inconclusive);
    }
}
