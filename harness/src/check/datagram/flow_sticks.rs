//! datagram/flow-sticks: a flow that a new version has answered is not answered by an old one again.

use std::collections::BTreeMap;

use crate::check::{Check, Witness};
use crate::history::History;
use crate::id::Version;
use crate::manifest::{Capability, Profile};
use crate::request::{Pattern, Request};
use crate::verdict::{Evidence, Finding, Level};

/// Flows that are told in words; the others are counted.
const TOLD: usize = 3;

/// The check.
pub static CHECK: Check = Check {
    id: "datagram/flow-sticks",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Udp),
    requirement: "A flow of datagrams is not answered by two generations in turns.",
    source: "udp(7): whoever reads a shared socket gets what comes next, of whichever flow",
    reports: &["quiche#900"],
    observed: "Of each of 16 flows the versions behind its answers, in the order in which its datagrams were sent: once a new version has \
               answered, no older one does.",
    needs: &[Witness::Upgrades, Witness::FlowLoad],
    observers: &[],
    chance: true,
    unproven_bare: None,
    decide,
};

/// A datagram that an older version answered than one before it in its flow.
struct Relapse<'a> {
    newer: &'a Request,
    older: &'a Request,
}

fn decide(history: &History) -> Vec<Finding> {
    let mut flows: BTreeMap<u64, Vec<(Version, &Request)>> = BTreeMap::new();
    for request in history.load().filter(|it| it.pattern == Pattern::Flow) {
        if let Some(version) = request.version() {
            flows.entry(request.connection).or_default().push((version, request));
        }
    }
    flows.values_mut().for_each(|answers| answers.sort_by_key(|(_, request)| request.nth_on_connection));
    let passed_on = flows.values().filter(|answers| answers.first().map(|it| it.0) < answers.last().map(|it| it.0));
    if passed_on.count() == 0 && flows.values().all(|answers| first_relapse(answers).is_none()) {
        return vec![Finding::inconclusive("no flow was answered by two versions")];
    }
    let relapses: Vec<Relapse<'_>> = flows.values().filter_map(|answers| first_relapse(answers)).collect();
    if relapses.is_empty() {
        return vec![Finding::pass(format!("{} flows, none of which went back to an older version", flows.len()))];
    }
    let mut evidence =
        vec![Evidence::text(format!("{} of {} flows went back to an older version", relapses.len(), flows.len()))];
    evidence.extend(relapses.iter().take(TOLD).map(Relapse::told));
    vec![Finding::fail(evidence)]
}

fn first_relapse<'a>(answers: &[(Version, &'a Request)]) -> Option<Relapse<'a>> {
    let (mut highest, mut newer) = *answers.first()?;
    for (version, request) in answers {
        if *version < highest {
            return Some(Relapse { newer, older: request });
        }
        (highest, newer) = (*version, request);
    }
    None
}

impl Relapse<'_> {
    fn told(&self) -> Evidence {
        let version = |request: &Request| request.version().map_or_else(String::new, |it| it.to_string());
        let Relapse { newer, older } = self;
        Evidence::text(format!(
            "flow {}: what it sent at {} version {} answered, and what it sent at {} version {}",
            older.connection,
            newer.began,
            version(newer),
            older.began,
            version(older)
        ))
        .requests([newer.id, older.id])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered};
    use crate::request::Pattern;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(versions: &[u32], want: Verdict) {
        let mut script = Script::new().trigger(1000, 1, 2);
        for (n, version) in (0..).zip(versions) {
            let at = 990 + 10 * u64::from(n);
            script = script.request(answered(at, at + 1, *version).of(Pattern::Flow).on(7, n));
        }
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{versions:?}: {findings:#?}");
    }

    #[test]
    fn a_flow_goes_over_once() {
        check(&[1, 1, 2, 2], Pass);
        check(&[1, 2, 1, 2], Fail);
        check(&[2, 1], Fail);
    }

    #[test]
    fn one_that_never_goes_over_proves_nothing() {
        check(&[1, 1, 1], Inconclusive);
        check(&[], Inconclusive);
    }
}
