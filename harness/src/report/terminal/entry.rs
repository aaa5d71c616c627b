//! One entry below the table: a word, what it is about, and labelled lines.
//!
//! ```text
//! FAIL  handoff/no-refused        reference/exec-inherit · restart/upgrade-under-load
//!       requirement  A client that connects during an upgrade is never refused.
//! ```

use super::page::{Ink, Page};

/// Where labels begin.
const LABEL_AT: usize = 6;
/// Columns of a label: "requirement" is the longest.
const LABEL: usize = 11;
/// Where texts begin.
const TEXT_AT: usize = LABEL_AT + LABEL + 2;
/// Columns of the subject, so that places line up.
const SUBJECT: usize = 24;

/// An entry in the making.
pub(super) struct Entry<'a> {
    page: &'a Page<'a>,
    text: String,
}

impl<'a> Entry<'a> {
    /// Its first line: word, subject (a check's id, or empty) and place.
    pub(super) fn new(page: &'a Page<'a>, (ink, word): (Ink, &str), subject: &str, place: &str) -> Entry<'a> {
        let word = page.paint(ink, &format!("{word:<4}"));
        let subject = if subject.is_empty() { String::new() } else { format!("{subject:<SUBJECT$}  ") };
        Entry { page, text: format!("{word}  {subject}{place}\n") }
    }

    /// A labelled text, broken to fit; nothing when the text is empty.
    pub(super) fn line(mut self, label: &str, text: &str) -> Entry<'a> {
        self.push(label, &[text.to_owned()]);
        self
    }

    /// A label with several texts, each broken to fit.
    pub(super) fn lines(mut self, label: &str, texts: &[String]) -> Entry<'a> {
        self.push(label, texts);
        self
    }

    /// The entry, with an empty line at its end.
    pub(super) fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }

    fn push(&mut self, label: &str, texts: &[String]) {
        let lines = texts.iter().filter(|text| !text.is_empty()).flat_map(|text| self.page.wrap(TEXT_AT, text));
        let mut label = self.page.paint(Ink::Faint, &format!("{label:<LABEL$}"));
        for line in lines.collect::<Vec<_>>() {
            self.text.push_str(&format!("{:LABEL_AT$}{label}  {line}\n", ""));
            label = " ".repeat(LABEL);
        }
    }
}
