//! handoff/listener-continuity: some socket listens on the address at every instant.
//!
//! Decided by identity, not by luck: a cookie (SO_COOKIE) survives fork and exec and is new on a rebind. The same cookie
//! in LISTEN throughout leaves no gap. A new one without SO_REUSEPORT can only have been bound after the old one was
//! closed, so the gap is certain, however short. With SO_REUSEPORT the dump taken while the successor stands still in
//! listen(2) decides.

use std::collections::BTreeSet;

use crate::check::{Check, Witness};
use crate::event::{Event, Listener, What};
use crate::history::History;
use crate::id::Cookie;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/listener-continuity",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "Some socket listens on the address at every instant of an upgrade.",
    source: "listen(2); socket(7) SO_REUSEPORT; sock_diag(7)",
    reports: &["sozu#297"],
    observed: "inet_diag dumps every millisecond and the dump taken while the target stands in listen(2) (seccomp hook). \
               The same cookie throughout passes. A new cookie passes when that dump, or any one dump, shows another \
               listener beside it; otherwise nothing listened for a moment, however short.",
    needs: &[Witness::Upgrades],
    observers: &["listeners", "listen-hook"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let Some(from) = history.first_trigger() else { return Vec::new() };
    let until = history.stop_asked();
    let mut watch = Watch::default();
    for event in history.events.iter().filter(|event| event.at.not_after <= until) {
        watch.see(event, event.at.not_after >= from);
    }
    watch.conclude(history)
}

/// What was learnt of the listeners so far.
#[derive(Default)]
struct Watch {
    known: BTreeSet<Cookie>,
    /// Cookies whose arrival was seen to overlap with another listener.
    overlapped: BTreeSet<Cookie>,
    /// Cookies that came after the beginning, with the event that showed them first.
    newcomers: Vec<(Cookie, u64)>,
    /// Certain gaps.
    gaps: Vec<Evidence>,
    dumps: usize,
    last_rows: Vec<Listener>,
}

impl Watch {
    fn see(&mut self, event: &Event, judged: bool) {
        match &event.what {
            What::Listeners { rows } => self.dump(event, rows, judged),
            What::ListenCall { cookie, rows, already_listening: false, pid, reuseport, address } => {
                if !judged {
                    self.known.insert(*cookie);
                    return;
                }
                let others: Vec<&Listener> = rows.iter().filter(|row| row.cookie != *cookie).collect();
                if others.is_empty() {
                    self.gaps.push(
                        Evidence::text(format!(
                            "process {pid} stood in listen(2) on {address} with socket {cookie} (SO_REUSEPORT {}) at {}: \
                             no other socket listened",
                            if *reuseport { "set" } else { "not set" },
                            event.at.not_after
                        ))
                        .event(event.seq),
                    );
                } else {
                    self.overlapped.insert(*cookie);
                }
            }
            _ => {}
        }
    }

    fn dump(&mut self, event: &Event, rows: &[Listener], judged: bool) {
        self.dumps += 1;
        if judged && rows.is_empty() && !self.last_rows.is_empty() {
            let text = format!("no socket listened at {} (dump of all listeners)", event.at.not_after);
            self.gaps.push(Evidence::text(text).event(event.seq));
        }
        for row in rows {
            if self.known.insert(row.cookie) && judged {
                self.newcomers.push((row.cookie, event.seq));
            }
            if rows.len() > 1 {
                self.overlapped.insert(row.cookie);
            }
        }
        self.last_rows = rows.to_vec();
    }

    fn conclude(self, history: &History) -> Vec<Finding> {
        if self.dumps == 0 {
            return vec![Finding::error("no dump of the listeners was taken")];
        }
        if !self.gaps.is_empty() {
            return vec![Finding::fail(self.gaps)];
        }
        let unexplained: Vec<_> =
            self.newcomers.iter().filter(|(cookie, _)| !self.overlapped.contains(cookie)).collect();
        if let Some((cookie, seq)) = unexplained.first() {
            let hook =
                if history.plan.machine.listen_hook { "its listen(2) was not seen" } else { "no listen(2) hook here" };
            return vec![Finding::new(
                crate::verdict::Verdict::Inconclusive,
                vec![
                    Evidence::text(format!(
                        "socket {cookie} replaced another listener, no dump shows both, and {hook}: a gap cannot be ruled out"
                    ))
                    .event(*seq),
                ],
            )];
        }
        vec![Finding::pass(if self.newcomers.is_empty() {
            let cookies: Vec<String> = self.last_rows.iter().map(|row| row.cookie.to_string()).collect();
            format!("the same socket (cookie {}) listened throughout", cookies.join(", "))
        } else {
            format!("{} new listeners, each beside another that still listened", self.newcomers.len())
        })]
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn the_same_cookie_throughout_passes() {
        check(Script::new().listeners(10, &[1]).trigger(1000, 1, 2).listeners(1100, &[1]), Pass);
    }

    #[test]
    fn a_dump_without_a_listener_fails() {
        check(Script::new().listeners(10, &[1]).trigger(1000, 1, 2).listeners(1100, &[]).listeners(1101, &[2]), Fail);
    }

    #[test]
    fn a_listen_call_beside_no_listener_is_a_gap_of_whatever_length() {
        let script = Script::new().listeners(10, &[1]).trigger(1000, 1, 2);
        check(script.listen_call(1100, 2, &[]).listeners(1101, &[2]), Fail);
    }

    #[test]
    fn an_overlap_seen_in_the_held_call_passes() {
        let script = Script::new().listeners(10, &[1]).trigger(1000, 1, 2);
        check(script.listen_call(1100, 2, &[1]).listeners(1101, &[2]), Pass);
    }

    #[test]
    fn a_common_dump_passes_without_the_hook() {
        let script = Script::new().listeners(10, &[1]).trigger(1000, 1, 2);
        check(script.listeners(1100, &[1, 2]).listeners(1101, &[2]), Pass);
    }

    #[test]
    fn a_new_cookie_without_hook_or_common_dump_is_inconclusive() {
        let script = Script::new().listeners(10, &[1]).trigger(1000, 1, 2);
        check(script.listeners(1101, &[2]), Inconclusive);
    }
}
