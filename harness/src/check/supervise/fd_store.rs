//! supervise/fd-store: what was left with the supervisor is there again after a restart.

use std::collections::BTreeSet;

use crate::check::Check;
use crate::clock::Nanos;
use crate::event::{Answer, ComeBack, Event, UnitMoment, What};
use crate::history::History;
use crate::id::Cookie;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/fd-store",
    level: Level::Should,
    profile: Some(Profile::Activated),
    capability: Some(Capability::FdStore),
    requirement: "A descriptor that is left with the supervisor by FDSTORE=1 is taken up again by the next instance.",
    source: "sd_notify(3), FDSTORE=1; systemd.service(5), FileDescriptorStoreMax=; sd_listen_fds(3)",
    reports: &["systemd#1286"],
    observed: "A unit with FileDescriptorStoreMax=4 under a real systemd, which says how many descriptors it keeps. SIGKILL of the \
               main process: the unit that is started again serves on the same listening socket (SO_COOKIE), not on one that it bound anew.",
    needs: &[],
    observers: &["listeners"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let started = history.find(|what| match what {
        What::Unit { moment: UnitMoment::Started, properties, .. } => properties.get("NFileDescriptorStore"),
        _ => None,
    });
    let Some((started, kept)) = started.into_iter().next() else {
        return vec![Finding::inconclusive("no systemd said how many descriptors it keeps")];
    };
    if kept == "0" {
        return vec![Finding::fail(vec![Evidence::text("it left no descriptor with systemd").event(started.seq)])];
    }
    let back = history.find(|what| if let What::CameBack(back) = what { Some(back) } else { None });
    let Some((event, back)) = back.into_iter().next() else {
        return vec![Finding::inconclusive("no main process was killed")];
    };
    vec![judge(history, event, back)]
}

fn judge(history: &History, event: &Event, back: &ComeBack) -> Finding {
    let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
    if !back.running {
        return fail(format!("killed, it was started {} times and never ran again", back.starts));
    }
    match &back.answer {
        Answer::Answered => {}
        Answer::Refused => return fail("killed and started again it refuses connections".to_owned()),
        Answer::Missing(why) => return fail(format!("killed and started again it does not answer: {why}")).on_time(),
    }
    let (Some(before), Some(now)) = (listening(history, event.at.not_before), listening(history, history.stop_asked()))
    else {
        return Finding::inconclusive("no dump of the listeners was taken");
    };
    match before.intersection(&now).next() {
        Some(cookie) => {
            let text = format!("killed and started again it serves on the socket of before, cookie {cookie}");
            Finding::pass(Evidence::text(text).event(event.seq))
        }
        None => fail("killed and started again it serves on a socket that it bound anew".to_owned()),
    }
}

/// Who listened by the last dump until then; a dump is told when it differs from the one before.
fn listening(history: &History, until: Nanos) -> Option<BTreeSet<Cookie>> {
    let dumps = history.events.iter().filter(|event| event.at.not_after <= until);
    let mut rows = dumps.filter_map(|event| if let What::Listeners { rows } = &event.what { Some(rows) } else { None });
    Some(rows.next_back()?.iter().map(|row| row.cookie).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::check::script::Script;
    use crate::event::{Answer, ComeBack, UnitMoment, What};
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn started(kept: &str) -> Script {
        let properties = BTreeMap::from([("NFileDescriptorStore".to_owned(), kept.to_owned())]);
        let what = What::Unit { moment: UnitMoment::Started, properties, main: Some(Pid(7)), server: Some(Pid(7)) };
        Script::new().listeners(10, &[1]).event(20, what)
    }

    fn killed(script: Script, running: bool, answer: Answer) -> Script {
        let main = running.then_some(Pid(9));
        let back = ComeBack { killed: Pid(7), main, starts: 1, running, answer, survivors: Vec::new() };
        script.spanning(100, 200, What::CameBack(back))
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn the_socket_of_before_passes() {
        check(killed(started("1"), true, Answer::Answered), Pass);
        check(killed(started("1"), true, Answer::Answered).listeners(300, &[1, 2]), Pass);
    }

    #[test]
    fn one_bound_anew_fails() {
        check(killed(started("1"), true, Answer::Answered).listeners(300, &[2]), Fail);
        // Seen while it came back: nobody listened meanwhile.
        check(killed(started("1").listeners(150, &[]).listeners(160, &[2]), true, Answer::Answered), Fail);
    }

    #[test]
    fn nothing_kept_or_nobody_there_again_fails() {
        check(killed(started("0"), true, Answer::Answered), Fail);
        check(killed(started("1"), false, Answer::Refused), Fail);
        check(killed(started("1"), true, Answer::Refused), Fail);
        check(killed(started("1"), true, Answer::Missing("reset".to_owned())), Fail);
    }

    #[test]
    fn without_a_kill_nothing_is_proven() {
        check(started("1"), Inconclusive);
        check(Script::new(), Inconclusive);
    }
}
