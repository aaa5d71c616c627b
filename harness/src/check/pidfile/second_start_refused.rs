//! pidfile/second-start-refused: a start while the daemon runs fails, and touches nothing.

use crate::check::Check;
use crate::check::daemon::shown;
use crate::event::{Answer, Event, ExitStatus, FileKind, Occasion, SecondStart, What};
use crate::history::History;
use crate::id::Pid;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/second-start-refused",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "A start while the daemon runs exits with another status than 0 and leaves the pidfile and the daemon as they are. It \
                  should name the process that runs.",
    source: "daemon(7), \"SysV Daemons\"",
    reports: &["connectonion#197", "daemon(1) and rust daemonize exit with 0"],
    observed: "The same launch once more. Its launcher's exit status; the bytes and the inode of the pidfile before it and after the \
               processes that it started are gone; the main process, and one request to it. Whether it names the pid is told and not \
               judged.",
    needs: &[],
    observers: &["output"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let starts = history.find(|what| if let What::StartedAgain(it) = what { Some(it) } else { None });
    let findings: Vec<Finding> = starts.flat_map(|(event, start)| one(history, event, start)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("it was not started while it ran")] } else { findings }
}

fn one(history: &History, event: &Event, start: &SecondStart) -> Vec<Finding> {
    let evidence = |text: String| Evidence::text(text).event(event.seq);
    let (facts, late) = (wrong(start), late(start));
    if facts.is_empty() && late.is_empty() {
        return vec![match start.status {
            _ if start.before.kind == FileKind::Absent => Finding::inconclusive("there was no pidfile"),
            Some(ExitStatus::Code(code)) => Finding::pass(evidence(format!(
                "it exited with {code}{}; the pidfile is the same file with {}, and pid {} answers",
                if names(history, start.daemon) { " and named the pid" } else { ", but did not name the pid" },
                shown(start.after.content.as_deref().unwrap_or_default()),
                start.daemon
            ))),
            _ => Finding::inconclusive("how the launcher ended is not known"),
        }];
    }
    let of_facts = Finding::fail(facts.into_iter().map(evidence).collect());
    let of_time = Finding::fail(late.into_iter().map(evidence).collect()).on_time();
    [of_facts, of_time].into_iter().filter(|finding| !finding.evidence.is_empty()).collect()
}

/// What no noise excuses.
fn wrong(start: &SecondStart) -> Vec<String> {
    let mut wrong = Vec::new();
    match start.status {
        Some(ExitStatus::Code(0)) => wrong.push(format!("pid {} ran, and the launcher exited with 0", start.daemon)),
        Some(ExitStatus::Signal(signal)) => wrong.push(format!("the launcher was killed by signal {signal}")),
        Some(ExitStatus::Code(_) | ExitStatus::Unknown) | None => {}
    }
    let (before, after) = (&start.before, &start.after);
    let content = |it: &Option<String>| it.as_deref().map_or_else(|| "nothing".to_owned(), shown);
    if before.content != after.content {
        wrong.push(format!(
            "the pidfile held {} before, and {} after",
            content(&before.content),
            content(&after.content)
        ));
    } else if before.inode != after.inode {
        wrong.push(format!("the pidfile was replaced: inode {} before, {} after", before.inode, after.inode));
    }
    if !start.lives {
        wrong.push(format!("pid {}, which ran, has ended", start.daemon));
    } else if start.answer == Answer::Refused {
        wrong.push(format!("pid {} lives, and a connect is refused", start.daemon));
    }
    wrong
}

/// What rests on a deadline.
fn late(start: &SecondStart) -> Vec<String> {
    let mut late = Vec::new();
    if start.status.is_none() {
        late.push(format!("pid {} ran, and the launcher had not returned by the start deadline", start.daemon));
    }
    if let Answer::Missing(why) = &start.answer
        && start.lives
    {
        late.push(format!("pid {} does not answer any more: {why}", start.daemon));
    }
    late
}

/// Whether the second launcher wrote the number to standard output or error.
fn names(history: &History, daemon: Pid) -> bool {
    let number = daemon.to_string();
    let has_number = |line: &str| line.split(|it: char| !it.is_ascii_digit()).any(|word| word == number);
    let prefix = Occasion::AlreadyRunning.prefix();
    let lines = history.find(move |what| match what {
        What::Output { stream, line } if stream.starts_with(&prefix) => Some(line),
        _ => None,
    });
    lines.into_iter().any(|(_, line)| has_number(line))
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, ExitStatus, SecondStart, What};
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut SecondStart), want: Verdict) {
        let history = Script::new().started_again(100, change).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn without_a_second_start_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn a_refusal_that_touches_nothing_passes_and_tells_whether_it_named_the_pid() {
        check(|_| {}, Pass);
        let said = What::Output { stream: "second-start.stderr".to_owned(), line: "running, pid 7".to_owned() };
        let history = Script::new().started_again(100, |_| {}).event(101, said).history();
        assert!((super::CHECK.decide)(&history)[0].evidence[0].text.contains("and named the pid"));
    }

    #[test]
    fn status_0_or_a_signal_is_no_refusal() {
        check(|start| start.status = Some(ExitStatus::Code(0)), Fail);
        check(|start| start.status = Some(ExitStatus::Signal(6)), Fail);
        check(|start| start.status = Some(ExitStatus::Unknown), Inconclusive);
    }

    #[test]
    fn a_pidfile_that_is_another_one_afterwards_fails() {
        check(|start| start.after.content = Some("9\n".to_owned()), Fail);
        check(|start| start.after.content = None, Fail);
        check(|start| start.after.inode += 1, Fail);
    }

    #[test]
    fn a_daemon_that_suffers_fails() {
        check(|start| start.lives = false, Fail);
        check(|start| start.answer = Answer::Refused, Fail);
    }

    #[test]
    fn what_rests_on_a_deadline_is_told_as_such() {
        let history = Script::new().started_again(100, |start| start.status = None).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!((findings[0].verdict, findings[0].ground), (Fail, Ground::Time));
    }
}
