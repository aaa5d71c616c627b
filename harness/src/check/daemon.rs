//! What the checks of daemons have in common: the portraits of a daemon at rest, and the number in its pidfile.

use std::collections::BTreeSet;

use crate::event::{
    DaemonPortrait, Event, ExitStatus, FileLook, LauncherReturn, Occasion, OpenDescriptor, ProcessPortrait, Released,
    StartFrom, StartupCall, What,
};
use crate::history::History;
use crate::id::{Image, Pid};
use crate::scenario::Launcher;
use crate::verdict::{Evidence, Finding};

/// A finding for each time the daemon came to rest after a start: what is wrong with it, or how well it is.
pub(super) fn of_portraits(
    history: &History,
    judge: impl Fn(&DaemonPortrait) -> Result<String, Vec<String>>,
) -> Vec<Finding> {
    let findings: Vec<Finding> = portraits(history).map(|(event, portrait)| finding(event, judge(portrait))).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no daemon came to rest after a start")] } else { findings }
}

/// Each time the daemon came to rest after a start.
pub(super) fn portraits(history: &History) -> impl Iterator<Item = (&Event, &DaemonPortrait)> {
    history.find(|what| if let What::Daemonised(it) = what { Some(it) } else { None })
}

/// How well it is, or everything that is wrong, as the finding of this event.
pub(super) fn finding(event: &Event, judged: Result<String, Vec<String>>) -> Finding {
    match judged {
        Ok(text) => Finding::pass(Evidence::text(text).event(event.seq)),
        Err(wrong) => Finding::fail(wrong.into_iter().map(|text| Evidence::text(text).event(event.seq)).collect()),
    }
}

/// The returns of launchers that were launched for this.
pub(super) fn returns(history: &History, occasion: Occasion) -> impl Iterator<Item = (&Event, &LauncherReturn)> {
    history.find(move |what| match what {
        What::LauncherReturned(it) if it.occasion == occasion => Some(it),
        _ => None,
    })
}

/// The first daemon at rest that was launched from there.
pub(super) fn portrait_from(history: &History, from: Launcher) -> Option<(&Event, &DaemonPortrait)> {
    let portraits = history.find(move |what| match what {
        What::Daemonised(it) if it.launcher.from == from => Some(it),
        _ => None,
    });
    portraits.into_iter().next()
}

/// The start from there that was made beside the scenario's own.
pub(super) fn start_from(history: &History, from: Launcher) -> Option<(&Event, &StartFrom)> {
    let starts = history.find(move |what| match what {
        What::StartedFrom(it) if it.from == from => Some(it),
        _ => None,
    });
    starts.into_iter().next()
}

/// Whether a pidfile is the number of this process and nothing else, but for a newline at the end.
pub(super) fn is_exactly(content: &str, pid: Pid) -> bool {
    content.strip_suffix('\n').unwrap_or(content) == pid.to_string()
}

/// The first number in a pidfile: what a person who reads it would signal.
pub(super) fn number(content: &str) -> Option<Pid> {
    let digits = content.trim_start_matches(|it: char| !it.is_ascii_digit());
    digits.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok().map(Pid)
}

/// Open descriptors of any process of the target that satisfy this, each as a sentence.
pub(super) fn open(portrait: &DaemonPortrait, wanted: impl Fn(&OpenDescriptor) -> bool) -> Vec<String> {
    let of = |process: &ProcessPortrait| -> Vec<String> {
        let held = process.descriptors.iter().filter(|it| wanted(it));
        held.map(|it| format!("pid {} has {} as descriptor {}", process.image.pid, it.link, it.number)).collect()
    };
    portrait.processes.iter().flat_map(of).collect()
}

/// The helpers of a daemon at rest: processes beside the main one that have executed a program since they were forked from it.
/// What only forked is the daemon itself once more, with its choice of signals, and `/proc/PID/environ` shows its launcher's. Who
/// is above the main process has started it; who shares a socket with it is a worker, which may be told things of its own.
pub(super) fn helpers(portrait: &DaemonPortrait) -> impl Iterator<Item = &ProcessPortrait> {
    let parent = |pid: &Pid| portrait.processes.iter().find(|it| it.image.pid == *pid).map(|it| it.ppid);
    let main = portrait.main;
    // Processes are looked at one after the other: where one has moved meanwhile, their parents may go round in circles.
    let lineage: Vec<Pid> = std::iter::successors(Some(main.pid), parent).take(portrait.processes.len() + 1).collect();
    // Between two programs a process has no stack.
    let executed = move |it: &Image| it.start_stack != main.start_stack && it.start_stack != 0;
    let sockets = |process: &ProcessPortrait| -> BTreeSet<String> {
        let links = process.descriptors.iter().map(|it| &it.link);
        links.filter(|link| link.starts_with("socket:")).cloned().collect()
    };
    let own = portrait.main().map(sockets).unwrap_or_default();
    let others = portrait.processes.iter().filter(move |it| !lineage.contains(&it.image.pid));
    others.filter(move |it| executed(&it.image) && sockets(it).is_disjoint(&own))
}

/// A finding for each time the daemon came to rest with helpers that can be judged: what is wrong with them, or how well they
/// are.
pub(super) fn of_helpers(
    history: &History,
    judge: impl Fn(&DaemonPortrait, &ProcessPortrait) -> Option<Vec<String>>,
    right: &str,
) -> Vec<Finding> {
    let portraits = history.find(|what| if let What::Daemonised(it) = what { Some(it) } else { None });
    let one = |(event, portrait): (&Event, &DaemonPortrait)| {
        let judged: Vec<Vec<String>> = helpers(portrait).filter_map(|helper| judge(portrait, helper)).collect();
        let count = judged.len();
        let evidence = |text: String| Evidence::text(text).event(event.seq);
        (count > 0).then(|| match unless(judged.concat(), format!("{right}, of {count}")) {
            Ok(text) => Finding::pass(evidence(text)),
            Err(wrong) => Finding::fail(wrong.into_iter().map(evidence).collect()),
        })
    };
    let findings: Vec<Finding> = portraits.filter_map(one).collect();
    if findings.is_empty() { vec![Finding::inconclusive(NO_HELPER)] } else { findings }
}

/// Without one there is nothing to judge.
const NO_HELPER: &str =
    "no helper of a daemon at rest could be judged: none had executed a program of its own, or none can be looked at";

/// Nothing wrong, or what is.
pub(super) fn unless(wrong: Vec<String>, right: impl Into<String>) -> Result<String, Vec<String>> {
    if wrong.is_empty() { Ok(right.into()) } else { Err(wrong) }
}

/// Content of a pidfile as evidence shows it.
pub(super) fn shown(content: &str) -> String {
    const LONGEST: usize = 60;
    let cut: String = content.chars().take(LONGEST).collect();
    format!("{cut:?}{}", if cut.len() < content.len() { " …" } else { "" })
}

/// What lies at a name, as evidence shows it.
pub(super) fn told(look: &FileLook) -> String {
    match look.content.as_deref() {
        Some(content) => format!("{} with {}, inode {}", look.kind.word(), shown(content), look.inode),
        None => look.kind.word().to_owned(),
    }
}

/// What the adversary says of the calls that are wanted: one finding each. A launcher that returned meanwhile and reported a
/// failure did wait, and lost patience.
pub(super) fn held(history: &History, wanted: impl Fn(&StartupCall) -> bool) -> Vec<Finding> {
    let seen = history.find(|what| match what {
        What::StartupHeld { pid, call, released } if wanted(call) => Some((*pid, call.clone(), *released)),
        _ => None,
    });
    let gave_up = |event: &Event| {
        let ended = returns(history, Occasion::Start).find(|(it, _)| it.at.not_after >= event.at.not_before);
        ended.is_some_and(|(_, it)| it.status != ExitStatus::Code(0))
    };
    let finding = |(event, (pid, call, released)): (&Event, (Pid, StartupCall, Released))| {
        let call = match call {
            StartupCall::Listen(address) => format!("its listen(2) on {address}"),
            StartupCall::Pidfile => "the call that makes its pidfile".to_owned(),
        };
        let held = event.at.not_after.since(event.at.not_before).as_millis();
        match released {
            Released::LauncherReturned if gave_up(event) => {
                let text = format!("pid {pid} was held in {call}, and the launcher gave up after {held} ms");
                Finding::inconclusive(Evidence::text(text).event(event.seq))
            }
            Released::LauncherReturned => {
                let text = format!("pid {pid} was held in {call}, and the launcher returned all the same");
                Finding::fail(vec![Evidence::text(text).event(event.seq)])
            }
            Released::LauncherWaited => {
                let text = format!("pid {pid} was held in {call} for {held} ms, and the launcher waited");
                Finding::pass(Evidence::text(text).event(event.seq))
            }
        }
    };
    seen.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_is_what_a_reader_would_signal() {
        for (content, want) in [
            ("12\n", Some(12)),
            ("pid 12", Some(12)),
            ("12x34", Some(12)),
            ("", None),
            ("x", None),
            ("99999999999", None),
        ] {
            assert_eq!(number(content), want.map(Pid), "{content:?}");
        }
    }
}
