//! The formats of a report: one line each.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Page, json, junit, matrix, terminal};
use crate::summary::{Exit, Summary};

/// A format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Terminal,
    /// JSON for programs.
    Json,
    /// JUnit XML for continuous integration.
    Junit,
    /// Targets side by side, in Markdown.
    Markdown,
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no report format: use terminal, json, junit or markdown")]
pub struct UnknownFormat(String);

impl Format {
    /// Every format.
    pub const ALL: [Format; 4] = [Format::Terminal, Format::Json, Format::Junit, Format::Markdown];

    /// The word as it stands on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Format::Terminal => "terminal",
            Format::Json => "json",
            Format::Junit => "junit",
            Format::Markdown => "markdown",
        }
    }

    /// The report in this format; only text for people has a use for the page.
    #[must_use]
    pub fn render(self, summary: &Summary, exit: Exit, page: &Page<'_>) -> String {
        match self {
            Format::Terminal => terminal::render(summary, exit, page),
            Format::Json => json::render(summary, exit),
            Format::Junit => junit::render(summary),
            Format::Markdown => matrix::markdown(summary),
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Format, UnknownFormat> {
        Format::ALL.into_iter().find(|format| format.word() == word).ok_or_else(|| UnknownFormat(word.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
