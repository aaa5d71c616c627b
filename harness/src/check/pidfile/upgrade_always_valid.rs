//! pidfile/upgrade-always-valid: through an upgrade the pidfile always names a live main process.
//!
//! Judged by the exact inotify sequence: a name that is removed, renamed away, created or truncated was invalid for a
//! moment, however short; reads only add content.

use std::collections::BTreeSet;

use std::time::Duration;

use crate::check::{Check, Witness};
use crate::clock::Interval;
use crate::event::{Event, PidfileChange, ProcessChange, What};
use crate::history::History;
use crate::id::Pid;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/upgrade-always-valid",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Pidfile),
    requirement: "Through an upgrade the pidfile always names a live main process of the service: the old or the new one \
                  while both live, the new one from the old one's exit on.",
    source: "inotify(7); rename(2); daemon(7)",
    reports: &["gunicorn", "haproxy", "nginx USR2", "puma"],
    observed: "The inotify sequence of the name: DELETE, MOVED_FROM, CREATE or a truncating MODIFY is a fail, a rename over \
               it is right. Its content after every event, against the lives of the processes it names.",
    needs: &[Witness::Upgrades],
    observers: &["pidfile", "processes", "exits"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let Some(first) = history.upgrades().first().copied() else { return Vec::new() };
    let until = history.stop_asked();
    let watched: Vec<Seen<'_>> = history.events.iter().filter_map(Seen::of).collect();
    if watched.is_empty() {
        return vec![Finding::error("the pidfile was not watched")];
    }
    let during: Vec<&Seen<'_>> = watched
        .iter()
        .filter(|seen| seen.event.at.not_after >= first.trigger.not_before && seen.event.at.not_after <= until)
        .collect();
    let broken = broken_sequence(&during);
    let wrong = wrong_content(history, &watched, &during);
    let evidence: Vec<Evidence> =
        broken.into_iter().chain(wrong).chain(stale_after_exit(history, &watched, until)).collect();
    if !evidence.is_empty() {
        return vec![Finding::fail(evidence)];
    }
    if let Some(seen) = during.iter().find(|seen| seen.change == PidfileChange::Modified) {
        let text =
            format!("written in place at {}: whether it was truncated first cannot be told", seen.event.at.not_after);
        return vec![Finding::new(Verdict::Inconclusive, vec![Evidence::text(text).event(seen.event.seq)])];
    }
    let renames = during.iter().filter(|seen| seen.change == PidfileChange::MovedOver).count();
    vec![Finding::pass(if renames == 0 {
        "the pidfile was not touched and its process lived throughout".to_owned()
    } else {
        format!("replaced by rename {renames} times, always naming a live main process")
    })]
}

/// A pidfile event with its parts.
struct Seen<'a> {
    event: &'a Event,
    change: PidfileChange,
    content: Option<&'a str>,
}

impl<'a> Seen<'a> {
    fn of(event: &'a Event) -> Option<Seen<'a>> {
        match &event.what {
            What::Pidfile { change, content, .. } => Some(Seen { event, change: *change, content: content.as_deref() }),
            _ => None,
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.content.and_then(|text| text.trim_end_matches('\n').parse().ok()).map(Pid)
    }
}

fn broken_sequence(during: &[&Seen<'_>]) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let mut modified_in_a_row = 0;
    for seen in during {
        let word = match seen.change {
            PidfileChange::Deleted => "DELETE: removed",
            PidfileChange::MovedAway => "MOVED_FROM: renamed away",
            PidfileChange::Created => "CREATE: the name had been absent",
            PidfileChange::Modified => {
                modified_in_a_row += 1;
                if seen.content.is_some_and(str::is_empty) {
                    "MODIFY: empty"
                } else if modified_in_a_row == 2 {
                    "MODIFY twice before CLOSE_WRITE: truncated, then written"
                } else {
                    continue;
                }
            }
            PidfileChange::ClosedAfterWrite => {
                modified_in_a_row = 0;
                continue;
            }
            PidfileChange::MovedOver | PidfileChange::Read => continue,
        };
        evidence.push(Evidence::text(format!("inotify {word}, {}", span(&seen.event.at))).event(seen.event.seq));
    }
    evidence
}

fn span(at: &Interval) -> String {
    if at.not_after.since(at.not_before) < Duration::from_millis(1) {
        format!("at {}", at.not_after)
    } else {
        format!("between {} and {}", at.not_before, at.not_after)
    }
}

/// Content, after an event that left the name valid, that names no main process or one that was surely gone.
fn wrong_content(history: &History, watched: &[Seen<'_>], during: &[&Seen<'_>]) -> Vec<Evidence> {
    let mut mains: BTreeSet<Pid> = history
        .find(|what| match what {
            What::Main { image } => Some(image.pid),
            _ => None,
        })
        .map(|(_, pid)| pid)
        .collect();
    // The process named before the first upgrade is main by the readiness of the target.
    mains.extend(watched.first().and_then(Seen::pid));
    let mut evidence = Vec::new();
    for seen in during.iter().filter(|seen| matches!(seen.change, PidfileChange::MovedOver | PidfileChange::Read)) {
        let told = match seen.pid() {
            None => format!("content {:?} is no process id", seen.content.unwrap_or("(absent)")),
            Some(pid) if !mains.contains(&pid) => format!("names process {pid}, which is not a main process"),
            Some(pid) if gone_before(history, pid, &seen.event.at) => format!("names process {pid}, which was gone"),
            Some(_) => continue,
        };
        evidence.push(Evidence::text(format!("{told}, {}", span(&seen.event.at))).event(seen.event.seq));
    }
    evidence
}

fn gone_before(history: &History, pid: Pid, at: &Interval) -> bool {
    // Of a process that executed another program one image is gone, and the next one appeared in the same look.
    let lives = |event: &Event| match &event.what {
        What::Process { image, change } if image.pid == pid => match change {
            ProcessChange::Gone => Some(false),
            ProcessChange::Appeared { .. } => Some(true),
            ProcessChange::Reparented { .. } | ProcessChange::MovedSession { .. } => None,
        },
        What::Exited { pid: exited, .. } if *exited == pid => Some(false),
        _ => None,
    };
    history.events.iter().filter(|event| event.at.precedes(at)).filter_map(lives).next_back() == Some(false)
}

/// The process that the file named exited, and the file was changed only surely later.
fn stale_after_exit(history: &History, watched: &[Seen<'_>], until: crate::clock::Nanos) -> Option<Evidence> {
    for event in history.events.iter().filter(|event| event.at.not_after <= until) {
        let What::Exited { pid, .. } = &event.what else { continue };
        let named = watched.iter().rev().find(|seen| !event.at.precedes(&seen.event.at)).and_then(Seen::pid);
        if named == Some(*pid) {
            let text = format!("the main process {pid} exited {} while the file still named it", span(&event.at));
            return Some(Evidence::text(text).event(event.seq));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::PidfileChange::{self, Created, Deleted, Modified, MovedAway, MovedOver, Read};
    use crate::event::{ProcessChange, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn run(changes: &[(PidfileChange, Option<&str>)]) -> Script {
        let mut script = Script::new().main(10, 5).pidfile(20, Read, Some("5\n")).trigger(1000, 1, 2).main(1005, 6);
        for (n, (change, content)) in changes.iter().enumerate() {
            script = script.pidfile(1010 + n as u64, *change, *content);
        }
        script
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn an_untouched_pidfile_passes() {
        check(run(&[]), Pass);
    }

    #[test]
    fn a_rename_over_the_name_passes() {
        check(run(&[(MovedOver, Some("6\n"))]), Pass);
    }

    #[test]
    fn unlink_and_create_fails_even_when_no_read_saw_it_missing() {
        check(run(&[(Deleted, Some("6\n")), (Created, Some("6\n"))]), Fail);
        check(run(&[(MovedAway, Some("6\n"))]), Fail);
    }

    #[test]
    fn truncation_in_place_fails() {
        check(run(&[(Modified, Some(""))]), Fail);
        check(run(&[(Modified, Some("6\n")), (Modified, Some("6\n"))]), Fail);
    }

    #[test]
    fn one_write_in_place_cannot_be_told_from_truncation() {
        check(run(&[(Modified, Some("6\n"))]), Inconclusive);
    }

    #[test]
    fn a_file_that_names_a_stranger_fails() {
        check(run(&[(MovedOver, Some("77\n"))]), Fail);
        check(run(&[(MovedOver, Some("x"))]), Fail);
    }

    #[test]
    fn a_process_that_executes_another_program_is_not_gone() {
        let launched = |script: Script| {
            let forked = crate::id::Image { start_stack: 9, ..crate::check::script::image(6) };
            script.event(1001, What::Process { image: forked, change: ProcessChange::Gone })
        };
        check(launched(run(&[(MovedOver, Some("6\n"))])), Fail);
        let executed =
            launched(Script::new().main(10, 5).pidfile(20, Read, Some("5\n")).trigger(1000, 1, 2).main(1005, 6));
        check(executed.appeared(1001, 6, 1).pidfile(1010, MovedOver, Some("6\n")), Pass);
    }

    #[test]
    fn a_file_that_names_the_old_one_after_its_exit_fails() {
        check(run(&[]).exited(1005, 5), Fail);
        check(run(&[(MovedOver, Some("6\n"))]).exited(1050, 5), Pass);
    }
}
