//! ready/notify-reload: reloads and the stop are announced.

use crate::check::Check;
use crate::check::notice::{Notice, notices};
use crate::event::{Event, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "ready/notify-reload",
    level: Level::Must,
    profile: Some(Profile::Foreground),
    capability: Some(Capability::NotifyReload),
    requirement: "A reload is announced by RELOADING=1 with MONOTONIC_USEC in one message and its end by READY=1, a stop by STOPPING=1, \
                  and a new main process by MAINPID while the old one lives.",
    source: "sd_notify(3); systemd.service(5), Type=notify-reload",
    reports: &["trapperkeeper#110"],
    observed: "The messages on a notification socket of the harness's own after SIGHUP to the main process, within \
               `deadlines.upgrade_ms`, and after the stop was asked for.",
    needs: &[],
    observers: &["notify"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let notices = notices(history);
    let asked = history.find(|what| matches!(what, What::ReloadAsked).then_some(()));
    let mut findings: Vec<Finding> = asked.map(|(event, ())| reload(history, event, &notices)).collect();
    if findings.is_empty() {
        return vec![Finding::inconclusive("no reload was asked for")];
    }
    findings.extend(successor(history, &notices));
    findings.push(stop(history, &notices));
    findings
}

/// What followed an order to reload.
fn reload(history: &History, asked: &Event, notices: &[Notice<'_>]) -> Finding {
    let late = history.events.iter().find(|event| {
        event.seq > asked.seq && matches!(&event.what, What::DeadlinePassed { name, .. } if name == "reload")
    });
    let fail = |text: &str, seqs: &[u64]| {
        let evidence = seqs.iter().fold(Evidence::text(text).event(asked.seq), |text, seq| text.event(*seq));
        let finding = Finding::fail(vec![evidence]);
        if late.is_some() { finding.on_time() } else { finding }
    };
    let after = || notices.iter().filter(|notice| notice.at.not_after >= asked.at.not_before);
    let Some(begun) = after().find(|notice| notice.says("RELOADING=1")) else {
        return fail("after SIGHUP it never said RELOADING=1", &[]);
    };
    let time = begun.value("MONOTONIC_USEC").map(str::parse::<u64>);
    if !matches!(time, Some(Ok(_))) {
        // That is a fact, however long the rest took.
        let text = "RELOADING=1 came without MONOTONIC_USEC in its message";
        return Finding::fail(vec![Evidence::text(text).event(begun.seq)]);
    }
    match after().find(|notice| notice.seq > begun.seq && notice.says("READY=1")) {
        Some(done) => {
            let text = "RELOADING=1 with its time, then READY=1";
            Finding::pass(Evidence::text(text).event(begun.seq).event(done.seq))
        }
        None => fail("after RELOADING=1 it never said READY=1", &[begun.seq]),
    }
}

/// A main process that took the place of another one, and was not announced in time.
fn successor(history: &History, notices: &[Notice<'_>]) -> Option<Finding> {
    let mains = history.find(|what| if let What::Main { image } = what { Some(*image) } else { None });
    let mut mains: Vec<_> = mains.collect();
    // Another image of the same process (execve(2)) is the main process that the supervisor knows.
    mains.dedup_by_key(|(_, image)| image.pid);
    let [.., (_, old), (event, new)] = mains.as_slice() else { return None };
    let ended = history.find(|what| match what {
        What::Exited { pid, .. } if *pid == old.pid => Some(()),
        _ => None,
    });
    let ended = ended.into_iter().next().map(|(event, ())| event.at);
    let announced = notices.iter().find(|notice| notice.value("MAINPID") == Some(new.pid.to_string().as_str()));
    Some(match announced {
        Some(notice) if ended.is_none_or(|ended| notice.at.not_before <= ended.not_after) => {
            let text = format!("MAINPID={} came while process {} lived", new.pid, old.pid);
            Finding::pass(Evidence::text(text).event(notice.seq))
        }
        Some(notice) => {
            let text = format!("MAINPID={} came after process {} had ended", new.pid, old.pid);
            Finding::fail(vec![Evidence::text(text).event(notice.seq)])
        }
        None => {
            let text = format!("process {} took the place of {}, and MAINPID was not announced", new.pid, old.pid);
            Finding::fail(vec![Evidence::text(text).event(event.seq)])
        }
    })
}

/// What followed the order to stop.
fn stop(history: &History, notices: &[Notice<'_>]) -> Finding {
    let asked = history.find(|what| matches!(what, What::StopAsked { .. }).then_some(())).last();
    let Some((asked, ())) = asked else { return Finding::inconclusive("it was not stopped") };
    let said = |notice: &&Notice<'_>| notice.at.not_after >= asked.at.not_before && notice.says("STOPPING=1");
    match notices.iter().find(said) {
        Some(notice) => Finding::pass(Evidence::text("told to stop, it said STOPPING=1").event(notice.seq)),
        None => Finding::fail(vec![Evidence::text("told to stop, it never said STOPPING=1").event(asked.seq)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    const RELOADING: &[&str] = &["RELOADING=1", "MONOTONIC_USEC=5"];

    fn asked() -> Script {
        Script::new().main(10, 5).notified(15, Some(5), &["READY=1"]).event(20, What::ReloadAsked)
    }

    fn stopped(script: Script) -> Script {
        let asked = What::StopAsked { action: "signal TERM to main".to_owned() };
        script.event(50, asked).notified(51, Some(5), &["STOPPING=1"])
    }

    fn check(script: Script, want: Verdict) {
        let findings = (CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn a_reload_from_its_announcement_to_its_end_passes() {
        check(stopped(asked().notified(21, Some(5), RELOADING).notified(30, Some(5), &["READY=1"])), Pass);
    }

    #[test]
    fn a_reload_without_its_time_its_announcement_or_its_end_fails() {
        check(stopped(asked().notified(21, Some(5), &["RELOADING=1"]).notified(30, Some(5), &["READY=1"])), Fail);
        check(stopped(asked().notified(30, Some(5), &["READY=1"])), Fail);
        check(stopped(asked().notified(21, Some(5), RELOADING)), Fail);
    }

    #[test]
    fn a_stop_that_is_not_announced_fails() {
        let reloaded = asked().notified(21, Some(5), RELOADING).notified(30, Some(5), &["READY=1"]);
        check(reloaded.event(50, What::StopAsked { action: "signal TERM to main".to_owned() }), Fail);
    }

    #[test]
    fn a_successor_is_announced_while_the_old_main_process_lives() {
        let reloaded =
            || stopped(asked().notified(21, Some(5), RELOADING).notified(30, Some(5), &["READY=1"]).main(35, 6));
        check(reloaded(), Fail);
        check(reloaded().notified(31, Some(5), &["MAINPID=6"]).exited(40, 5), Pass);
        check(reloaded().notified(41, Some(6), &["MAINPID=6"]).exited(40, 5), Fail);
    }

    #[test]
    fn another_program_in_the_same_process_is_no_successor() {
        let reloaded = || stopped(asked().notified(21, Some(5), RELOADING).notified(30, Some(5), &["READY=1"]));
        let mut executed = crate::check::script::image(5);
        executed.start_stack += 1;
        check(reloaded().event(35, What::Main { image: executed }), Pass);
        executed.pid = crate::id::Pid(6);
        check(reloaded().main(35, 6).event(36, What::Main { image: executed }), Fail);
    }

    #[test]
    fn without_a_reload_nothing_is_proven() {
        check(stopped(Script::new()), Inconclusive);
    }
}
