//! The whole report.

use super::closing::{total, verdict};
use super::header::header;
use super::measures::measures;
use super::page::Page;
use super::problem::problems;
use super::table::table;
use super::unrun::unrun;
use crate::summary::{Exit, Summary};

/// The report for people. `exit` is what the invocation ends with, so that the last line can say what it means.
#[must_use]
pub fn render(summary: &Summary, exit: Exit, page: &Page<'_>) -> String {
    let mut text = header(summary, page);
    for target in &summary.targets {
        text.push_str(&table(target, page));
        text.push('\n');
        text.push_str(&problems(summary, target, page));
        text.push_str(&unrun(target, page));
        text.push_str(&measures(target, page));
        text.push_str(&verdict(target, page));
        text.push('\n');
    }
    text.push_str(&total(summary, exit, page));
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::sample;

    fn check(summary: &Summary, colour: bool, want: &str) {
        let page = Page { width: 110, colour, here: Path::new("/home/you/server") };
        let got = render(summary, summary.exit(false), &page);
        assert!(got == want, "the report changed; it is now:\n{got}");
    }

    #[test]
    fn a_clean_report_is_the_stored_text() {
        check(&sample::clean(), false, include_str!("../testdata/clean.txt"));
    }

    #[test]
    fn a_report_with_everything_in_it_is_the_stored_text() {
        check(&sample::summary(), false, include_str!("../testdata/report.txt"));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        check(&sample::summary(), true, include_str!("../testdata/colour.txt"));
    }
}
