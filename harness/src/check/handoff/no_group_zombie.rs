//! handoff/no-group-zombie: no listener is left that takes connections and gives them to nobody.

use crate::check::rest::rests;
use crate::check::{Check, Witness};
use crate::clock::{Interval, Nanos};
use crate::event::{Event, Listener, What};
use crate::history::History;
use crate::id::{Cookie, UpgradeId};
use crate::manifest::Profile;
use crate::request::Pattern;
use crate::verdict::{Evidence, Finding, Level};

/// Fresh connections that a rest must follow on: the kernel chooses a listener of a group by a hash, so one of two gets none of
/// so many in one of a million runs.
const CONNECTIONS_MIN: usize = 20;

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/no-group-zombie",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "No listener stays on the address that completes connections and gives them to nobody.",
    source: "socket(7), SO_REUSEPORT: connections are spread over all sockets of the group, whoever accepts from them",
    reports: &["envoy#8691"],
    observed: "When the old generation is gone and the load has ended, every client having got its answer or given up: the accept queue \
               of each listener on the address is empty. Witness: at least 20 fresh connections between the youngest listener's \
               first sight and that moment.",
    needs: &[Witness::Upgrades],
    observers: &["listeners"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings: Vec<Finding> = rests(history)
        .iter()
        .filter(|rest| rest.upgrade > UpgradeId(0))
        .filter_map(|rest| {
            let at = history.events.iter().find(|event| event.seq == rest.seq)?.at;
            Some(one(history, rest.seq, at).of(rest.upgrade))
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("the target was never seen at rest after an upgrade"));
    }
    findings
}

fn one(history: &History, seq: u64, at: Interval) -> Finding {
    let Some((dump, rows)) = dumps(history).take_while(|(event, _)| event.at.not_after <= at.not_after).last() else {
        return Finding::inconclusive("no listener was seen at rest");
    };
    // One that was found empty a moment later may have been so.
    let later = dumps(history).find(|(event, _)| event.seq > dump.seq && event.at.not_before <= at.not_after);
    let emptied =
        |row: &Listener| later.is_some_and(|(_, rows)| rows.iter().any(|it| it.cookie == row.cookie && it.queued == 0));
    let waiting: Vec<&Listener> = rows.iter().filter(|row| row.queued > 0 && !emptied(row)).collect();
    if !waiting.is_empty() {
        let texts = waiting.iter().map(|row| {
            let text = format!(
                "at rest {} connections wait at listener {} on {}, one of {}: nobody takes them",
                row.queued,
                row.cookie,
                row.address,
                rows.len()
            );
            Evidence::text(text).event(dump.seq).event(seq)
        });
        return Finding::fail(texts.collect());
    }
    let since = rows.iter().filter_map(|row| first_seen(history, row.cookie)).max();
    let came = since.map_or(0, |since| fresh_between(history, since, at.not_after));
    let text = format!(
        "at rest the queues of all {} listeners are empty; {came} fresh connections came since the youngest was there",
        rows.len()
    );
    let evidence = Evidence::text(text).event(dump.seq).event(seq);
    if came >= CONNECTIONS_MIN { Finding::pass(evidence) } else { Finding::inconclusive(evidence) }
}

fn dumps(history: &History) -> impl Iterator<Item = (&Event, &[Listener])> {
    history.find(|what| if let What::Listeners { rows } = what { Some(rows.as_slice()) } else { None })
}

fn first_seen(history: &History, cookie: Cookie) -> Option<Nanos> {
    dumps(history).find(|(_, rows)| rows.iter().any(|row| row.cookie == cookie)).map(|(event, _)| event.at.not_after)
}

fn fresh_between(history: &History, from: Nanos, until: Nanos) -> usize {
    let came = history.load().filter(|it| it.pattern == Pattern::Fresh && it.began >= from && it.began < until);
    came.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, answered};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn dump(queued: &[u32]) -> What {
        let rows = queued.iter().zip(1..).map(|(queued, n)| Listener {
            cookie: Cookie(n),
            address: "127.0.0.1:10086".to_owned(),
            inode: n,
            queued: *queued,
            backlog: 8,
        });
        What::Listeners { rows: rows.collect() }
    }

    /// One listener until the upgrade at 1000 ms, two from 1100 ms on with these dumps (milliseconds), and a rest at 2000 ms after
    /// so many connections.
    fn upgraded(connections: u64, more: &[(u64, u64, &[u32])]) -> Script {
        let put = |script: Script, it: &(u64, u64, &[u32])| script.spanning(it.0, it.1, dump(it.2));
        let (before, after): (Vec<_>, Vec<_>) = more.iter().partition(|it| it.1 <= 2000);
        let script = Script::new().event(1, dump(&[0])).trigger(1000, 1, 2).event(1100, dump(&[0, 0]));
        let script = before.into_iter().fold(script, put).at_rest(2000, 1, &[(1, 3)], &[]);
        let script = after.into_iter().fold(script, put);
        (0..connections).fold(script, |script, n| script.request(answered(1200 + n, 1201 + n, 2)))
    }

    fn check(script: Script, want: Verdict) {
        let findings = decide(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn empty_queues_pass() {
        check(upgraded(30, &[]), Pass);
        check(upgraded(30, &[(1999, 2001, &[])]), Pass);
    }

    #[test]
    fn a_queue_that_nobody_empties_fails() {
        check(upgraded(30, &[(1500, 1501, &[0, 7])]), Fail);
        check(upgraded(0, &[(1500, 1501, &[0, 1])]), Fail);
        check(upgraded(30, &[(1500, 1501, &[0, 7]), (2001, 2002, &[0, 0])]), Fail);
    }

    #[test]
    fn a_queue_that_was_emptied_in_time_or_may_have_been_passes() {
        check(upgraded(30, &[(1500, 1501, &[0, 7]), (1600, 1601, &[0, 0])]), Pass);
        check(upgraded(30, &[(1500, 1501, &[0, 7]), (1999, 2003, &[0, 0])]), Pass);
    }

    #[test]
    fn what_comes_after_the_rest_is_not_judged() {
        check(upgraded(30, &[(1999, 2001, &[0, 1])]), Pass);
    }

    #[test]
    fn few_connections_prove_nothing() {
        check(upgraded(19, &[]), Inconclusive);
        check(Script::new().event(1, dump(&[0])).trigger(1000, 1, 2), Inconclusive);
    }
}
