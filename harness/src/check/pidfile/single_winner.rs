//! pidfile/single-winner: of several starts at once one wins.

use crate::check::Check;
use crate::event::{Answer, Event, ExitStatus, StartRace, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/single-winner",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "Of several starts at the same time exactly one runs; the launchers of the others exit with another status than 0.",
    source: "flock(2); daemon(7), \"SysV Daemons\"",
    reports: &["ceph#7075", "paseo#4903"],
    observed: "Sixteen launches, each stopped right after its exec and all let go together, with no pidfile there and with that of a \
               killed daemon; three rounds, in another scenario thirty. The launchers' exit statuses, and how many processes the \
               reaper had adopted afterwards, against how many there are after one start alone.",
    needs: &[],
    observers: &[],
    chance: true,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let alone = history.find(|what| match what {
        What::Daemonised(portrait) => Some(portrait.processes.iter().filter(|it| it.ppid == portrait.reaper).count()),
        _ => None,
    });
    let alone = alone.into_iter().map(|(_, count)| count).max().unwrap_or_default().max(1);
    let races = history.find(|what| if let What::StartsRaced(race) = what { Some(race) } else { None });
    let findings: Vec<Finding> = races.flat_map(|(event, race)| one(event, race, alone)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("it was not started several times at once")] } else { findings }
}

fn one(event: &Event, race: &StartRace, alone: usize) -> Vec<Finding> {
    let starts = race.statuses.len();
    let count = |wanted: fn(&Option<ExitStatus>) -> bool| race.statuses.iter().filter(|it| wanted(it)).count();
    let won = count(|it| *it == Some(ExitStatus::Code(0)));
    let evidence = |text: String| Evidence::text(format!("round {}: {text}", race.round)).event(event.seq);
    let fail = |text: String| Finding::fail(vec![evidence(text)]);
    let mut findings = Vec::new();
    let unfinished = count(Option::is_none);
    if unfinished > 0 {
        findings
            .push(fail(format!("{unfinished} of {starts} launchers had not returned by the start deadline")).on_time());
    }
    let unknown = count(|it| *it == Some(ExitStatus::Unknown));
    if won > 1 {
        findings.push(fail(format!("{won} of {starts} launchers exited with 0")));
    } else if won == 0 && unfinished + unknown == 0 {
        findings.push(fail(format!("none of {starts} launchers exited with 0")));
    }
    let killed = count(|it| matches!(it, Some(ExitStatus::Signal(_))));
    if killed > 0 {
        findings.push(fail(format!("{killed} of {starts} launchers were killed by a signal")));
    }
    if race.daemons.len() > alone {
        let pids: Vec<String> = race.daemons.iter().map(ToString::to_string).collect();
        let text =
            format!("{} processes were adopted by the reaper instead of {alone}: {}", pids.len(), pids.join(", "));
        findings.push(fail(text).on_time());
    }
    if won > 0 && race.daemons.is_empty() {
        findings.push(fail("a launcher exited with 0, and no daemon is left".to_owned()));
    } else if won > 0 && race.answer != Answer::Answered {
        findings.push(fail("a launcher exited with 0, and nobody answers by the start deadline".to_owned()).on_time());
    }
    if findings.is_empty() && unknown > 0 {
        findings.push(Finding::inconclusive(format!("how {unknown} launchers ended is not known")));
    }
    if findings.is_empty() {
        findings
            .push(Finding::pass(evidence(format!("one of {starts} launchers exited with 0, and one daemon serves"))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, ExitStatus, StartRace, What};
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut StartRace), want: Verdict) {
        let refused = Some(ExitStatus::Code(1));
        let mut race = StartRace {
            round: 1,
            statuses: vec![refused, Some(ExitStatus::Code(0)), refused],
            daemons: vec![Pid(7)],
            answer: Answer::Answered,
        };
        change(&mut race);
        let history = Script::new().portrait(50, |_| {}).event(100, What::StartsRaced(race)).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn without_a_race_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn one_winner_passes() {
        check(|_| {}, Pass);
    }

    #[test]
    fn two_winners_or_none_fail() {
        check(|race| race.statuses[0] = Some(ExitStatus::Code(0)), Fail);
        check(|race| race.statuses[1] = Some(ExitStatus::Code(1)), Fail);
    }

    #[test]
    fn a_loser_that_stays_or_a_winner_that_does_not_serve_fails() {
        check(|race| race.daemons.push(Pid(9)), Fail);
        check(|race| race.answer = Answer::Refused, Fail);
        check(|race| race.daemons.clear(), Fail);
        check(|race| race.statuses[2] = None, Fail);
        check(|race| race.statuses[2] = Some(ExitStatus::Signal(11)), Fail);
    }

    #[test]
    fn an_unknown_end_proves_nothing() {
        check(|race| race.statuses[1] = Some(ExitStatus::Unknown), Inconclusive);
    }
}
