//! life/log-append: the log is appended to, and moves without losing a line.

use std::collections::BTreeMap;

use crate::check::Check;
use crate::event::{LogPortrait, What};
use crate::history::History;
use crate::manifest::Capability;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "life/log-append",
    level: Level::Must,
    profile: None,
    capability: Some(Capability::Log),
    requirement: "The log is opened for appending; renamed and opened anew, it moves with no line lost.",
    source: "open(2), O_APPEND; logrotate(8), `create` and `copytruncate`",
    reports: &["rosmon#154", "repmgr#465"],
    observed: "O_APPEND in `/proc/PID/fdinfo` of each descriptor that can write the log (proc_pid_fdinfo(5)); the log is renamed and \
               the target told to open it anew while requests with numbers in their paths are sent, one after the other. After \
               the stop each number of an answered request stands once in the moved file or in the new one.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    let seen = history.find(|what| if let What::LogSeen(portrait) = what { Some(portrait) } else { None });
    findings.extend(seen.filter_map(|(event, portrait)| appended(event.seq, portrait)));
    let rotated = history.find(|what| match what {
        What::LogRotated { reopened, answered } => Some((*reopened, answered)),
        _ => None,
    });
    for (event, (reopened, answered)) in rotated {
        findings.push(if reopened {
            lines(history, event.seq, answered)
        } else {
            let text = "told to open its log anew, nobody did, and the moved file is still written";
            Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time()
        });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no log was rotated"));
    }
    findings
}

/// How its writers have it open; `None` when there is no log to be written.
fn appended(seq: u64, portrait: &LogPortrait) -> Option<Finding> {
    portrait.mode?;
    if portrait.writers.is_empty() {
        return Some(Finding::inconclusive(Evidence::text("nobody has the log open for writing").event(seq)));
    }
    let wrong: Vec<Evidence> = portrait
        .writers
        .iter()
        .filter(|writer| !writer.append)
        .map(|it| format!("pid {} writes {} as descriptor {} without O_APPEND", it.pid, portrait.path, it.number))
        .map(|text| Evidence::text(text).event(seq))
        .collect();
    Some(if wrong.is_empty() {
        let text = format!("{} descriptors write {}, all with O_APPEND", portrait.writers.len(), portrait.path);
        Finding::pass(Evidence::text(text).event(seq))
    } else {
        Finding::fail(wrong)
    })
}

/// Whether each answered request has its line, and one only.
pub(in crate::check) fn lines(history: &History, seq: u64, answered: &[u32]) -> Finding {
    let mut times: BTreeMap<u32, u32> = BTreeMap::new();
    let mut read = Vec::new();
    for (event, (path, numbers)) in history.find(|what| match what {
        What::LogRead { path, numbers } => Some((path, numbers)),
        _ => None,
    }) {
        read.push((event.seq, format!("{} in {path}", numbers.len())));
        numbers.iter().for_each(|number| *times.entry(*number).or_default() += 1);
    }
    if read.is_empty() {
        return Finding::inconclusive("the run ended before the logs were read");
    }
    if times.is_empty() {
        return Finding::inconclusive("no line of the log names the path of a request");
    }
    let of = |wanted: fn(u32) -> bool| -> Vec<String> {
        let is = |number: &&u32| wanted(times.get(*number).copied().unwrap_or(0));
        answered.iter().filter(is).map(u32::to_string).collect()
    };
    let evidence = |text: String| {
        let mut evidence = Evidence::text(text).event(seq);
        evidence.events.extend(read.iter().map(|(seq, _)| *seq));
        evidence
    };
    let mut wrong = Vec::new();
    for (numbers, what) in [(of(|times| times == 0), "no line"), (of(|times| times > 1), "more than one line")] {
        if !numbers.is_empty() {
            wrong.push(evidence(format!("answered requests with {what} in the log: {}", numbers.join(", "))));
        }
    }
    let places: Vec<&str> = read.iter().map(|(_, text)| text.as_str()).collect();
    if wrong.is_empty() {
        Finding::pass(evidence(format!("{} requests, each with its line: {}", answered.len(), places.join(", "))))
    } else {
        Finding::fail(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::event::LogWriter;
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn seen(append: bool) -> Script {
        let writers = vec![LogWriter { pid: Pid(7), number: 1, append }];
        let portrait = LogPortrait { path: "/target/log".to_owned(), mode: Some(0o640), writers };
        Script::new().event(100, What::LogSeen(portrait))
    }

    fn rotated(script: Script, reopened: bool, moved: &[u32], new: &[u32]) -> Script {
        let read = |path: &str, numbers: &[u32]| What::LogRead { path: path.to_owned(), numbers: numbers.to_vec() };
        script
            .event(200, What::LogRotated { reopened, answered: vec![1, 2, 3] })
            .event(300, read("/target/log.1", moved))
            .event(301, read("/target/log", new))
    }

    fn check(script: Script, want: Verdict) {
        let findings = (CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn every_line_once_passes() {
        check(rotated(seen(true), true, &[1, 2], &[3]), Pass);
    }

    #[test]
    fn a_descriptor_without_append_fails() {
        check(rotated(seen(false), true, &[1, 2], &[3]), Fail);
    }

    #[test]
    fn a_lost_or_repeated_line_fails() {
        check(rotated(seen(true), true, &[1], &[3]), Fail);
        check(rotated(seen(true), true, &[1, 2], &[2, 3]), Fail);
    }

    #[test]
    fn a_log_that_is_not_opened_anew_fails_though_no_line_is_lost() {
        check(rotated(seen(true), false, &[1, 2, 3], &[]), Fail);
    }

    #[test]
    fn a_log_without_requests_or_a_run_without_a_log_proves_nothing() {
        check(rotated(seen(true), true, &[], &[]), Inconclusive);
        check(Script::new(), Inconclusive);
    }
}
