//! The verdict line of a target and the total.

use std::fmt::Write;

use super::page::{Ink, Page};
use crate::report::wording;
use crate::summary::{Disposition, Exit, Row, Summary, TargetSummary};
use crate::verdict::Level;

/// What all of a target's results come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Conformant,
    ConformantExcept,
    NotRun,
    Undecided,
    NotJudged,
    NotConformant,
    Broken,
}

impl Standing {
    fn of(target: &TargetSummary) -> Standing {
        let any = |wanted: Disposition| target.rows.iter().any(|row| row.disposition == wanted);
        if !target.broken.is_empty() {
            Standing::Broken
        } else if any(Disposition::Failure) || any(Disposition::UnexpectedPass) || !target.unmatched.is_empty() {
            Standing::NotConformant
        } else if any(Disposition::Error) {
            Standing::NotJudged
        } else if any(Disposition::Inconclusive) {
            Standing::Undecided
        } else if target.rows.is_empty() {
            Standing::NotRun
        } else if any(Disposition::ExpectedFailure) {
            Standing::ConformantExcept
        } else {
            Standing::Conformant
        }
    }

    fn words(self) -> &'static str {
        match self {
            Standing::Conformant => "conformant",
            Standing::ConformantExcept => "conformant except",
            Standing::NotRun => "not run",
            Standing::Undecided => "not decided",
            Standing::NotJudged => "not judged",
            Standing::NotConformant => "not as expected",
            Standing::Broken => "broken without any restart",
        }
    }

    fn ink(self) -> Ink {
        match self {
            Standing::Conformant => Ink::Good,
            Standing::ConformantExcept | Standing::NotRun => Ink::Attention,
            Standing::Undecided => Ink::Unknown,
            Standing::NotJudged | Standing::NotConformant | Standing::Broken => Ink::Bad,
        }
    }
}

/// The verdict line of a target.
pub(super) fn verdict(target: &TargetSummary, page: &Page<'_>) -> String {
    let standing = Standing::of(target);
    let told = match standing {
        Standing::Broken => "does not work without any restart".to_owned(),
        Standing::NotConformant => unexpected(target),
        Standing::NotJudged => format!("not judged: error in {}", ids(target, Disposition::Error)),
        Standing::Undecided => format!("not decided: inconclusive in {}", ids(target, Disposition::Inconclusive)),
        Standing::NotRun => "nothing was judged".to_owned(),
        Standing::ConformantExcept => format!("conformant except {}", ids(target, Disposition::ExpectedFailure)),
        Standing::Conformant => "conformant".to_owned(),
    };
    let line = format!("{}: {told}{}", target.target, counts(target));
    let lines = page.wrap(0, &line);
    let painted: Vec<String> = lines.iter().map(|line| page.paint(standing.ink(), line)).collect();
    format!("{}\n", painted.join("\n"))
}

/// "not conformant: …", and what else was unexpected.
fn unexpected(target: &TargetSummary) -> String {
    let mut told = Vec::new();
    let (failed, passed) = (ids(target, Disposition::Failure), ids(target, Disposition::UnexpectedPass));
    if !failed.is_empty() {
        told.push(format!("not conformant, fails {failed}"));
    }
    if !passed.is_empty() {
        told.push(format!("passes against its expectations in {passed}"));
    }
    if !target.unmatched.is_empty() {
        told.push("has expectations that match nothing".to_owned());
    }
    told.join("; ")
}

fn ids(target: &TargetSummary, wanted: Disposition) -> String {
    let rows = target.rows.iter().filter(|row| row.disposition == wanted);
    rows.map(|row| row.check).collect::<Vec<_>>().join(", ")
}

/// " (8 of 9 MUST and 1 of 1 SHOULD passed)".
fn counts(target: &TargetSummary) -> String {
    let judged = |level: Level| target.rows.iter().filter(move |row| row.level == level && row.verdict.is_some());
    let passed = |row: &&Row| row.disposition == Disposition::Passed;
    let told: Vec<String> = [Level::Must, Level::Should]
        .into_iter()
        .filter(|level| judged(*level).next().is_some())
        .map(|level| format!("{} of {} {level}", judged(level).filter(passed).count(), judged(level).count()))
        .collect();
    if told.is_empty() { String::new() } else { format!(" ({} passed)", told.join(" and ")) }
}

/// The last lines: how many targets stand how, and the exit code in words.
pub(super) fn total(summary: &Summary, exit: Exit, page: &Page<'_>) -> String {
    let standings: Vec<Standing> = summary.targets.iter().map(Standing::of).collect();
    let mut kinds = standings.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let told: Vec<String> = kinds
        .iter()
        .map(|kind| match (standings.iter().filter(|it| *it == kind).count(), kind) {
            (n, Standing::ConformantExcept) => format!("{n} conformant except for expected failures"),
            (n, kind) => format!("{n} {}", kind.words()),
        })
        .collect();
    let mut text = String::new();
    let noun = if summary.targets.len() == 1 { "target" } else { "targets" };
    if !told.is_empty() {
        let _ = writeln!(text, "{} {noun}: {}", summary.targets.len(), told.join(", "));
    }
    let ink = if exit == Exit::AsExpected { Ink::Good } else { Ink::Bad };
    let _ = writeln!(text, "{}", page.paint(ink, &format!("exit {}: {}", exit.code(), wording::exit(exit))));
    text
}
