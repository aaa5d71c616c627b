//! handoff/listener-set-changes: a new version adds, drops and moves listeners.

use crate::check::handoff::further::{Fault, fault, judged, with_fate};
use crate::check::{Check, Witness};
use crate::event::{Answer, AskedListener, Fate};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/listener-set-changes",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Listeners),
    requirement: "When the new version listens on other addresses, the added ones serve, the dropped ones are free, and the others never \
                  blink.",
    source: "nginx \"Changing Configuration\": it opens the new listen sockets and, once old workers are told to go, closes the others",
    reports: &["pingora#960"],
    observed: "Addresses of `also` with `{version}` in them are others in each version. When the old generation is gone the new ones \
               answer, by the new version, and nobody listens on the old ones; no request to the others was lost.",
    needs: &[Witness::Upgrades, Witness::MovingListeners],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    vec![
        judged(&with_fate(history, Fate::Added), "added", |row| fault(history, row)),
        judged(&with_fate(history, Fate::Dropped), "dropped", still_there),
        judged(&with_fate(history, Fate::Kept), "kept", |row| fault(history, row)),
    ]
}

/// Who is connected to is listened on, whatever else happens there.
fn still_there(row: &AskedListener) -> Option<Fault> {
    let what = match &row.last {
        Answer::Refused => return None,
        Answer::Answered => "it still answers".to_owned(),
        Answer::Missing(why) => format!("somebody still listens ({why})"),
    };
    Some(Fault::fact(format!("{}: {what} when the old generation is gone", row.address)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::handoff::further::tests::{Change, asked, refused};
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(rows: &[(Fate, Change)], want: Verdict) {
        let findings = decide(&asked(rows));
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn added_ones_that_serve_and_dropped_ones_that_are_free_pass() {
        check(&[(Fate::Added, |_| {}), (Fate::Dropped, refused), (Fate::Kept, |_| {})], Pass);
    }

    #[test]
    fn an_added_one_that_refuses_a_dropped_one_that_answers_or_a_kept_one_that_blinks_fails() {
        check(&[(Fate::Added, refused), (Fate::Dropped, refused), (Fate::Kept, |_| {})], Fail);
        check(&[(Fate::Added, |_| {}), (Fate::Dropped, |_| {}), (Fate::Kept, |_| {})], Fail);
        check(&[(Fate::Added, |_| {}), (Fate::Dropped, refused), (Fate::Kept, refused)], Fail);
    }

    #[test]
    fn a_dropped_one_that_is_listened_on_and_silent_is_a_fact() {
        let silent = |row: &mut AskedListener| {
            (row.failed, row.late, row.last) = (1, 1, Answer::Missing("no answer".to_owned()));
        };
        let findings = decide(&asked(&[(Fate::Added, |_| {}), (Fate::Dropped, silent), (Fate::Kept, |_| {})]));
        assert_eq!((findings[1].verdict, findings[1].ground), (Fail, Ground::Fact));
    }

    #[test]
    fn without_any_that_move_nothing_is_proven() {
        check(&[(Fate::Kept, |_| {})], Inconclusive);
    }
}
