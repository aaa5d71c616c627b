//! The page that a report is laid out on: width, colour, and where the reader stands.

use std::path::Path;

use anstyle::{AnsiColor, Style};

/// Where a report goes.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Columns; below [`Page::WIDTH_MIN`] counts as that.
    pub width: usize,
    /// Colour it by ANSI sequences.
    pub colour: bool,
    /// The reader's working directory: paths below it are shown relative to it.
    pub here: &'a Path,
}

/// What a piece of text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Ink {
    /// As it should be.
    Good,
    /// Broken.
    Bad,
    /// Worth a look.
    Attention,
    /// Could not be told.
    Unknown,
    /// A title.
    Title,
    /// A label, or what does not matter much.
    Faint,
}

impl Page<'_> {
    /// Narrower than this a table cannot be read.
    pub const WIDTH_MIN: usize = 72;

    /// Columns that may be used.
    pub(super) fn columns(&self) -> usize {
        self.width.max(Page::WIDTH_MIN)
    }

    /// The text in its colour, or as it is. Pad before: the sequences count as characters.
    pub(in crate::report) fn paint(&self, ink: Ink, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let style = match ink {
            Ink::Good => AnsiColor::Green.on_default(),
            Ink::Bad => AnsiColor::Red.on_default().bold(),
            Ink::Attention => AnsiColor::Yellow.on_default(),
            Ink::Unknown => AnsiColor::Magenta.on_default(),
            Ink::Title => Style::new().bold(),
            Ink::Faint => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }

    /// A path as the reader can open it from where he stands.
    pub(super) fn path(&self, path: &Path) -> String {
        path.strip_prefix(self.here).unwrap_or(path).display().to_string()
    }

    /// Breaks a text at spaces into lines that fit behind an indent. A word that is longer stays whole: a path that was
    /// broken could not be copied.
    #[must_use]
    pub fn wrap(&self, indent: usize, text: &str) -> Vec<String> {
        let room = self.columns().saturating_sub(indent).max(1);
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let line = lines.last_mut().expect("there is always a last line");
            if line.is_empty() {
                line.push_str(word);
            } else if line.chars().count() + 1 + word.chars().count() <= room {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
        lines
    }

    /// The paragraph behind an indent, with line breaks.
    pub(in crate::report) fn paragraph(&self, indent: usize, text: &str) -> String {
        self.wrap(indent, text).iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
    }
}

/// The text cut to `room` characters, the cut shown.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize, colour: bool) -> Page<'static> {
        Page { width, colour, here: Path::new("/work") }
    }

    #[test]
    fn text_breaks_at_spaces_and_long_words_stay_whole() {
        let text = format!("{} {} end", "a".repeat(60), "b".repeat(90));
        assert_eq!(page(80, false).wrap(10, &text), ["a".repeat(60), "b".repeat(90), "end".to_owned()]);
    }

    #[test]
    fn without_colour_no_sequence_is_written() {
        assert_eq!(page(80, false).paint(Ink::Bad, "FAIL"), "FAIL");
        assert_eq!(page(80, true).paint(Ink::Bad, "FAIL"), "\u{1b}[1m\u{1b}[31mFAIL\u{1b}[0m");
    }

    #[test]
    fn paths_below_the_reader_are_relative() {
        assert_eq!(page(80, false).path(Path::new("/work/target/run")), "target/run");
        assert_eq!(page(80, false).path(Path::new("/elsewhere")), "/elsewhere");
    }

    #[test]
    fn a_cut_is_shown() {
        assert_eq!(cut("connects refused", 9), "connects…");
        assert_eq!(cut("connects", 8), "connects");
    }
}
