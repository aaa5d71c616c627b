//! handoff/backlog-size-kept: the accept queue is as long as declared, before an upgrade and after it.

use crate::check::{Check, Witness};
use crate::clock::Nanos;
use crate::event::{Event, Listener, What};
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/backlog-size-kept",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "The accept queue is as long after an upgrade as before it, and as declared.",
    source: "listen(2): a repeated listen changes the backlog; sock_diag(7), idiag_wqueue of a listener",
    reports: &["php-src#12977"],
    observed: "inet_diag shows the backlog of every listener on the endpoints. In the last dump before the trigger, and in the \
               last one before the next trigger or the stop, each is the endpoint's `backlog`; where the manifest declares none, \
               the second is what the first was.",
    needs: &[Witness::Upgrades],
    observers: &["listeners"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    history.upgrades().iter().map(|upgrade| one(history, upgrade).of(upgrade.id)).collect()
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    let Some((first, before)) = seen(history, upgrade.trigger.not_before) else {
        return Finding::inconclusive("no listener was seen before the trigger");
    };
    // A queue that is short for a moment is handoff/no-stall's.
    let Some((last, after)) = seen(history, upgrade.window_end) else {
        return Finding::inconclusive("no listener was seen at the end of the upgrade");
    };
    let mut wrong: Vec<Evidence> = Vec::new();
    for (event, rows, when) in [(first, before, "before the trigger"), (last, after, "after the upgrade")] {
        for row in rows {
            if let Some(wanted) = wanted(history, before, row).filter(|wanted| *wanted != row.backlog) {
                let text = format!("{} has a backlog of {} {when}, not of {wanted}", row.address, row.backlog);
                wrong.push(Evidence::text(text).event(event.seq));
            }
        }
    }
    if wrong.is_empty() {
        let lengths: Vec<String> = after.iter().map(|row| format!("{} of {}", row.backlog, row.address)).collect();
        return Finding::pass(Evidence::text(format!("backlog {}", lengths.join(", "))).event(last.seq));
    }
    Finding::fail(wrong)
}

/// The listeners at an instant; unchanged dumps are not told, so the last one told is what there was.
fn seen(history: &History, until: Nanos) -> Option<(&Event, &[Listener])> {
    let told = history.events.iter().rev().find_map(|event| match &event.what {
        What::Listeners { rows } if event.at.not_after <= until => Some((event, rows.as_slice())),
        _ => None,
    });
    told.filter(|(_, rows)| !rows.is_empty())
}

/// What the listener's endpoint declares, else what an older one on its address had; its own where that cannot be told.
fn wanted(history: &History, before: &[Listener], row: &Listener) -> Option<u32> {
    // By port: a listener on all addresses serves an endpoint of one.
    let port = row.address.rsplit(':').next()?;
    let declared = history.plan.target.endpoints.iter().find(|it| it.address.port().to_string() == port);
    declared.and_then(|endpoint| endpoint.backlog).or_else(|| {
        let mut older = before.iter().filter(|old| old.address == row.address).map(|old| old.backlog);
        let first = older.next()?;
        Some(if first == row.backlog || older.any(|old| old == row.backlog) { row.backlog } else { first })
    })
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Listener, What};
    use crate::history::History;
    use crate::id::Cookie;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn dump(backlogs: &[u32]) -> What {
        let row = |(n, backlog): (usize, &u32)| Listener {
            cookie: Cookie(n as u64 + 1),
            address: "127.0.0.1:10086".to_owned(),
            inode: 1,
            queued: 0,
            backlog: *backlog,
        };
        What::Listeners { rows: backlogs.iter().enumerate().map(row).collect() }
    }

    fn upgraded(before: &[u32], meanwhile: &[u32], after: &[u32]) -> History {
        let script = Script::new().event(900, dump(before)).trigger(1000, 1, 2);
        let script = script.event(1050, dump(meanwhile)).event(1200, dump(after)).settled(1300, 1);
        script.event(2000, What::StopAsked { action: "signal TERM".to_owned() }).event(2100, dump(&[])).history()
    }

    fn check(declared: Option<u32>, [before, meanwhile, after]: [&[u32]; 3], want: Verdict) {
        let mut history = upgraded(before, meanwhile, after);
        history.plan.target.endpoints[0].backlog = declared;
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn the_same_backlog_before_and_after_passes() {
        check(None, [&[511], &[511, 511], &[511]], Pass);
        check(Some(511), [&[511], &[511, 511], &[511]], Pass);
    }

    #[test]
    fn a_shorter_one_after_the_upgrade_fails() {
        check(None, [&[511], &[511], &[128]], Fail);
    }

    #[test]
    fn one_that_is_not_as_declared_fails_though_it_is_kept() {
        check(Some(1024), [&[128], &[128], &[128]], Fail);
    }

    #[test]
    fn a_queue_that_is_short_for_a_moment_is_another_check_s() {
        check(None, [&[511], &[1], &[511]], Pass);
    }

    #[test]
    fn without_a_listener_before_the_trigger_nothing_is_proven() {
        check(None, [&[], &[511], &[511]], Inconclusive);
    }
}
