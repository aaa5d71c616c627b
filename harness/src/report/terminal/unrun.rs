//! What was not run, and expectations that nothing matched: never silent.

use super::entry::Entry;
use super::page::{Ink, Page};
use crate::plan::NotRun;
use crate::summary::TargetSummary;

/// Expectations without a check, then scenarios that were not run, each with its reason and what would help.
pub(super) fn unrun(target: &TargetSummary, page: &Page<'_>) -> String {
    let mut text = String::new();
    for expectation in &target.unmatched {
        let entry = Entry::new(page, (Ink::Bad, "UNMATCHED"), &expectation.check, &target.target)
            .line("expected", &expectation.reason)
            .line("but", "no check of these runs has this id")
            .line("to do", "Correct the id in the expectations, or take the expectation away.");
        text.push_str(&entry.finish());
    }
    if target.not_run.is_empty() {
        return text;
    }
    text.push_str(&page.paint(Ink::Faint, "  not run"));
    text.push('\n');
    let widest = target.not_run.iter().map(|it| it.scenario.len()).max().unwrap_or_default();
    for it in &target.not_run {
        let (ink, why) = match &it.why {
            NotRun::Unsupported { reason } => (Ink::Faint, format!("unsupported: {reason}")),
            NotRun::Unavailable { reason, remedy } => {
                (Ink::Attention, format!("unavailable: {reason}; to do: {remedy}"))
            }
        };
        let indent = 4 + widest + 2;
        for (n, line) in page.wrap(indent, &why).iter().enumerate() {
            let scenario = if n == 0 { it.scenario.as_str() } else { "" };
            text.push_str(&format!("    {scenario:<widest$}  {}\n", page.paint(ink, line)));
        }
    }
    text.push('\n');
    text
}
