//! handoff/watch-triggered: a changed file causes exactly one upgrade, however it is written.

use std::collections::BTreeSet;

use crate::check::Check;
use crate::clock::Nanos;
use crate::event::{Event, What};
use crate::history::History;
use crate::id::{Image, Pid};
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/watch-triggered",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Watch),
    requirement: "A change of the watched file causes exactly one upgrade, however the file is written.",
    source: "inotify(7): one write is many events; execve(2) ETXTBSY",
    reports: &["watchers that believe every event"],
    observed: "The file is renamed over, touched, switched by symlink, removed and written in two halves, or written in \
               place (data files). After each the generations that came to hold the listener are counted, until nothing \
               more happens.",
    needs: &[],
    observers: &["processes", "listeners"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let Some(watch) = history.plan.target.restart.as_ref().and_then(|restart| restart.watch.as_ref()) else {
        return vec![Finding::error("the plan has no watched file")];
    };
    let changes: Vec<(&Event, _)> = history
        .find(|what| match what {
            What::FileChanged { upgrade, how, .. } => Some((*upgrade, how.clone())),
            _ => None,
        })
        .collect();
    let stop = history.stop_asked();
    let mut findings = Vec::new();
    for (n, (event, (upgrade, how))) in changes.iter().enumerate() {
        let until = changes.get(n + 1).map_or(stop, |(next, _)| next.at.not_before);
        let came = newcomers(history, event.at.not_before, until);
        let processes = usize::try_from(watch.processes.max(1)).expect("u32 fits usize on Linux");
        let (least, most) = (came.surely.len() / processes, (came.surely.len() + came.perhaps.len()) / processes);
        let counted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let names: Vec<String> = came.surely.iter().chain(&came.perhaps).map(|image| image.pid.to_string()).collect();
        let text = format!(
            "{how} at {}: {counted} upgrade{} until {until} (new processes on the listener: {})",
            event.at.not_before,
            if most == 1 { "" } else { "s" },
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        );
        let verdict = match (least, most) {
            (1, 1) => Verdict::Pass,
            (0 | 1, 1..) => Verdict::Inconclusive,
            _ => Verdict::Fail,
        };
        let finding = Finding::new(verdict, vec![Evidence::text(text).event(event.seq)]);
        findings.push(finding.of(*upgrade));
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("the watched file was never changed"));
    }
    findings
}

/// Images that came to hold the listener in a span and did not hold it before.
struct Newcomers {
    surely: Vec<Image>,
    /// Seen first by a sample that began before the span: they may have come before it.
    perhaps: Vec<Image>,
}

/// A process that was no holder before counts once: between fork and exec it holds the listener under another image.
fn newcomers(history: &History, from: Nanos, until: Nanos) -> Newcomers {
    let mut before: BTreeSet<Image> = BTreeSet::new();
    let (mut surely, mut perhaps) = (BTreeSet::new(), BTreeSet::new());
    for event in &history.events {
        let What::Holders { images, .. } = &event.what else { continue };
        for image in images {
            if event.at.not_after <= from {
                before.insert(*image);
            } else if event.at.not_before <= from {
                perhaps.insert(*image);
            } else if event.at.not_before < until && !perhaps.contains(image) {
                surely.insert(*image);
            }
        }
    }
    let known: BTreeSet<Pid> = before.iter().map(|image| image.pid).collect();
    let mut counted = BTreeSet::new();
    let mut new = |images: BTreeSet<Image>| -> Vec<Image> {
        let images = images.into_iter().filter(|image| !before.contains(image));
        images.filter(|image| known.contains(&image.pid) || counted.insert(image.pid)).collect()
    };
    let perhaps = new(perhaps);
    Newcomers { surely: new(surely), perhaps }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(after: &[&[i32]], want: Verdict) {
        let mut script = Script::new().holders(10, &[1, 2]).file_changed(1000, 1, "rename");
        for (n, pids) in after.iter().enumerate() {
            script = script.holders(1100 + 10 * n as u64, pids);
        }
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn one_new_generation_passes() {
        check(&[&[1, 2, 3], &[1, 3]], Pass);
    }

    #[test]
    fn a_process_seen_between_fork_and_exec_counts_once() {
        let forked = |stack| crate::id::Image { start_stack: stack, ..crate::check::script::image(3) };
        let holders = |stack| crate::event::What::Holders { inode: 1, images: vec![forked(stack)] };
        let script = Script::new().holders(10, &[1, 2]).file_changed(1000, 1, "rename");
        let script = script.event(1100, holders(7)).event(1110, holders(8));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Pass);
    }

    #[test]
    fn a_sample_that_spans_the_change_leaves_the_order_open() {
        let holders = crate::event::What::Holders { inode: 1, images: vec![crate::check::script::image(3)] };
        let script = Script::new().holders(10, &[1, 2]).file_changed(1000, 1, "rename").spanning(900, 1100, holders);
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Inconclusive);
    }

    #[test]
    fn no_new_generation_fails() {
        check(&[&[1, 2]], Fail);
    }

    #[test]
    fn two_new_generations_for_one_change_fail() {
        check(&[&[1, 2, 3], &[1, 3, 4], &[1, 4]], Fail);
    }
}
