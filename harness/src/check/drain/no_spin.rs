//! drain/no-spin: whoever only waits does not use a processor.

use crate::check::{Check, Witness};
use crate::clock::Interval;
use crate::event::{DrainWatched, Microseconds, What};
use crate::history::History;
use crate::id::Image;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/no-spin",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A draining generation that only waits for its clients uses at most 5 % of a processor.",
    source: "epoll(7): a registration outlives the close of a descriptor whose socket somebody else has open; poll(2): POLLNVAL and \
             POLLHUP are always reported",
    reports: &["haproxy#358"],
    observed: "Connections that have sent half a request are accepted before the trigger; there is no other load. For more than a \
               second after the done event, the time that the processes of the old generation ran \
               (/proc/PID/task/TID/schedstat). One that ran little and was ready to for half of the time proves nothing, and one \
               that is gone in the end is not judged.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// Shorter looks say little: what is done once at the beginning of a drain would count.
const WATCHED_MS_MIN: u128 = 1000;

fn decide(history: &History) -> Vec<Finding> {
    let watched = history.find(|what| if let What::DrainWatched(watched) = what { Some(watched) } else { None });
    let findings: Vec<Finding> = watched.flat_map(|(event, watched)| of_one(event.seq, event.at, watched)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no draining generation was watched")] } else { findings }
}

fn of_one(seq: u64, at: Interval, watched: &DrainWatched) -> Vec<Finding> {
    if watched.processes.is_empty() {
        let text = "no process but the main one held the listener before the upgrade";
        return vec![Finding::inconclusive(Evidence::text(text).event(seq)).of(watched.upgrade)];
    }
    // Of several processes those that have no connection go.
    let drained = watched.processes.iter().filter_map(|process| Some((process.image, process.used?)));
    let findings: Vec<Finding> = drained.map(|(image, used)| share(seq, at, image, used).of(watched.upgrade)).collect();
    if findings.is_empty() {
        let text = format!("no process of the old generation drained until {}", at.not_after);
        return vec![Finding::inconclusive(Evidence::text(text).event(seq)).of(watched.upgrade)];
    }
    findings
}

fn share(seq: u64, at: Interval, image: Image, used: Microseconds) -> Finding {
    let (pid, span) = (image.pid, at.not_after.since(at.not_before));
    let evidence = |text: String| Evidence::text(text).event(seq);
    // Whole per mille: the counts are of microseconds, the span at least a second.
    let per_mille = |micros: u64| u128::from(micros) * 1000 / span.as_micros().max(1);
    let (ran, waited) = (per_mille(used.ran), per_mille(used.waited));
    let text = format!(
        "process {pid} ran {}.{} % of {} ms in which it drained, and was ready to for {}.{} %",
        ran / 10,
        ran % 10,
        span.as_millis(),
        waited / 10,
        waited % 10
    );
    if span.as_millis() < WATCHED_MS_MIN {
        Finding::inconclusive(evidence(text))
    } else if ran > 50 {
        Finding::fail(vec![evidence(text)])
    } else if waited > 500 {
        Finding::inconclusive(evidence(text))
    } else {
        Finding::pass(evidence(text))
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{DrainWatched, Microseconds, ProcessorTime, What};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// Process 5 is watched for so long, and has used so many milliseconds.
    fn check(watched_ms: u64, used: Option<(u64, u64)>, want: Verdict) {
        let used = used.map(|(ran, waited)| Microseconds { ran: ran * 1000, waited: waited * 1000 });
        let processes = vec![ProcessorTime { image: image(5), used }];
        let what = What::DrainWatched(DrainWatched { upgrade: UpgradeId(1), processes });
        let script = Script::new().trigger(1000, 1, 2).spanning(1100, 1100 + watched_ms, what);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn one_that_waits_passes() {
        check(1200, Some((1, 1)), Pass);
        check(1200, Some((60, 0)), Pass);
    }

    #[test]
    fn one_that_spins_fails() {
        check(1200, Some((62, 0)), Fail);
        check(1200, Some((1190, 0)), Fail);
        check(1200, Some((300, 900)), Fail);
    }

    #[test]
    fn one_that_lacked_a_processor_proves_nothing() {
        check(1200, Some((50, 900)), Inconclusive);
    }

    #[test]
    fn one_that_is_gone_or_was_hardly_looked_at_proves_nothing() {
        check(1200, None, Inconclusive);
        check(900, Some((1, 1)), Inconclusive);
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }
}
