//! tls/resumption: sessions of the old generation are resumed by the new one.

use crate::check::{Check, Witness};
use crate::history::{History, Upgrade};
use crate::manifest::{Capability, Profile};
use crate::request::{Pattern, Request, TlsSession};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "tls/resumption",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Tls),
    requirement: "A client that comes back after an upgrade with a session ticket from before resumes its session.",
    source: "RFC 8446 §2.2: tickets are sealed by a key of the server's; who has it resumes, whichever process sealed them",
    reports: &["envoy#1747"],
    observed: "16 clients, each of which comes back with the ticket of its last connection. Of those that the new version answered and that \
               came with a ticket of an older one: all were resumed. A target that resumed none before the upgrade proves nothing.",
    needs: &[Witness::Upgrades, Witness::Versions, Witness::TlsLoad],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    history.upgrades().iter().map(|upgrade| one(history, upgrade).of(upgrade.id)).collect()
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    let sessions = || history.load().filter(|it| it.pattern == Pattern::Tls).filter_map(|it| Some((it, it.tls?)));
    let before = sessions().filter(|(request, tls)| request.ended < upgrade.trigger.not_before && tls.resumed).count();
    if before == 0 {
        return Finding::inconclusive("no session was resumed before the upgrade either");
    }
    let crossed = |(request, tls): &(&Request, TlsSession)| {
        request.version() == Some(upgrade.version) && tls.comes_from.is_some_and(|of| of < upgrade.version)
    };
    let crossed: Vec<_> = sessions().filter(crossed).collect();
    let refused: Vec<u64> = crossed.iter().filter(|(_, tls)| !tls.resumed).map(|(request, _)| request.id).collect();
    let text = format!("{} of {} sessions from before were resumed", crossed.len() - refused.len(), crossed.len());
    let evidence = Evidence::text(text).event(upgrade.trigger_seq);
    if crossed.is_empty() {
        Finding::inconclusive("nobody came to the new version with a ticket of the old one")
    } else if refused.is_empty() {
        Finding::pass(evidence)
    } else {
        Finding::fail(vec![evidence.requests(refused)])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered};
    use crate::id::Version;
    use crate::request::{Pattern, TlsSession};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// Sessions before the upgrade and after it: who gave the ticket, and whether it was resumed.
    fn check(before: bool, after: &[(u32, bool)], want: Verdict) {
        let with = |at, version, of: u32, resumed| {
            let mut request = answered(at, at + 1, version).of(Pattern::Tls);
            request.tls = Some(TlsSession { comes_from: Some(Version(of)), resumed });
            request
        };
        let mut script = Script::new().request(with(900, 1, 1, before)).trigger(1000, 1, 2);
        for (of, resumed) in after {
            script = script.request(with(1100, 2, *of, *resumed));
        }
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn tickets_of_the_old_version_open_sessions_of_the_new_one() {
        check(true, &[(1, true), (1, true)], Pass);
        check(true, &[(1, true), (1, false)], Fail);
    }

    #[test]
    fn who_never_resumed_one_or_met_no_old_ticket_proves_nothing() {
        check(false, &[(1, false)], Inconclusive);
        check(true, &[(2, true)], Inconclusive);
        check(true, &[], Inconclusive);
    }
}
