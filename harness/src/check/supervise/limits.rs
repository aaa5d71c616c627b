//! supervise/limits: the resource limits of the unit are those of whoever serves.

use crate::check::Check;
use crate::event::{Limit, LimitsSeen, ProcessLimits, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/limits",
    level: Level::Must,
    profile: Some(Profile::Foreground),
    capability: None,
    requirement: "LimitNOFILE= and the other limits of the unit reach the process and its later generations, none of them lowered.",
    source: "systemd.exec(5), \"Process Properties\", LimitNOFILE=; getrlimit(2)",
    reports: &["nuster#109"],
    observed: "/proc/PID/limits of the main process and of all that hold the listener, after the start and after a reload, against \
               those that the same systemd gives with the same settings to cat(1), which changes none. A process may raise its \
               own limits.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// The limit that evidence names in a pass.
const FILES: &str = "Max open files";

fn decide(history: &History) -> Vec<Finding> {
    let seen = history.find(|what| if let What::Limits(seen) = what { Some(seen) } else { None });
    let findings: Vec<Finding> = seen.map(|(event, seen)| judge(event.seq, seen)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no limits were read")] } else { findings }
}

fn judge(event: u64, seen: &LimitsSeen) -> Finding {
    let Some(files) = seen.given.get(FILES) else {
        return Finding::error(Evidence::text("systemd's own process told no limits").event(event));
    };
    if seen.processes.is_empty() {
        return Finding::inconclusive(Evidence::text("nobody served whose limits could be read").event(event));
    }
    let lowered: Vec<Evidence> = seen.processes.iter().flat_map(|it| lowered(seen, it)).collect();
    if lowered.is_empty() {
        let count = seen.processes.len();
        let text = format!("{count} processes have what systemd gives, {FILES} {}", word(files));
        return Finding::pass(Evidence::text(text).event(event));
    }
    Finding::fail(lowered.into_iter().map(|it| it.event(event)).collect())
}

/// The limits that a process lacks a part of.
fn lowered(seen: &LimitsSeen, process: &ProcessLimits) -> Vec<Evidence> {
    let lacking = seen.given.iter().filter_map(|(name, given)| {
        let got = process.limits.get(name)?;
        let lacks = below(got.soft, given.soft) || below(got.hard, given.hard);
        let pid = process.image.pid;
        lacks.then(|| {
            Evidence::text(format!("{name} of process {pid} is {}, and systemd gives {}", word(got), word(given)))
        })
    });
    lacking.collect()
}

fn below(got: Option<u64>, given: Option<u64>) -> bool {
    match (got, given) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(got), Some(given)) => got < given,
    }
}

/// "1024 of at most 4096", "unlimited".
fn word(limit: &Limit) -> String {
    let word = |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string());
    if limit.soft == limit.hard {
        word(limit.soft)
    } else {
        format!("{} of at most {}", word(limit.soft), word(limit.hard))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::check::script::{Script, image};
    use crate::event::{Limit, LimitsSeen, ProcessLimits, What};
    use crate::verdict::Verdict::{self, Error, Fail, Inconclusive, Pass};

    fn files(soft: Option<u64>, hard: Option<u64>) -> BTreeMap<String, Limit> {
        BTreeMap::from([("Max open files".to_owned(), Limit { soft, hard })])
    }

    fn check(given: (Option<u64>, Option<u64>), got: &[(Option<u64>, Option<u64>)], want: Verdict) {
        let process =
            |(soft, hard): &(Option<u64>, Option<u64>)| ProcessLimits { image: image(7), limits: files(*soft, *hard) };
        let seen = LimitsSeen { given: files(given.0, given.1), processes: got.iter().map(process).collect() };
        let findings = (super::CHECK.decide)(&Script::new().event(9, What::Limits(seen)).history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn limits_that_arrive_or_are_raised_pass() {
        check((Some(9), Some(9)), &[(Some(9), Some(9))], Pass);
        check((Some(4), Some(9)), &[(Some(9), Some(9)), (None, None)], Pass);
        check((None, None), &[(None, None)], Pass);
    }

    #[test]
    fn a_lowered_one_of_any_process_fails() {
        check((Some(9), Some(9)), &[(Some(9), Some(9)), (Some(4), Some(9))], Fail);
        check((Some(4), Some(9)), &[(Some(4), Some(8))], Fail);
        check((None, None), &[(Some(9), None)], Fail);
    }

    #[test]
    fn without_somebody_who_serves_or_a_measure_nothing_is_proven() {
        check((Some(9), Some(9)), &[], Inconclusive);
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
        let seen = LimitsSeen { given: BTreeMap::new(), processes: Vec::new() };
        let history = Script::new().event(9, What::Limits(seen)).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, Error);
    }
}
