//! One problem at one place of a file, shown with the line, a caret and the fix.

use std::ops::Range;

use annotate_snippets::renderer::Renderer;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Snippet};

use super::{KeyPath, Problem, Source};

/// A manifest, scenario or expectations file that cannot be used: the place, what is wrong there, and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use {}: {}", self.place(), self.0.problem)]
pub struct ManifestError(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    source: Source,
    key: KeyPath,
    span: Option<Range<usize>>,
    problem: Problem,
}

impl ManifestError {
    /// A problem at these bytes of a text; `None`: of the document as a whole.
    pub(super) fn new(source: Source, key: KeyPath, span: Option<Range<usize>>, problem: Problem) -> ManifestError {
        let span = span.map(|span| on_one_line(source.text(), span));
        ManifestError(Box::new(Inner { source, key, span, problem }))
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// The key that it is about; the root for the document as a whole.
    #[must_use]
    pub fn key(&self) -> &KeyPath {
        &self.0.key
    }

    /// Line and column, in characters, from 1.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let start = self.0.span.as_ref().map_or(0, |span| span.start);
        let before = self.0.source.text().get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// "file:line:column: key", the key only where there is one, the line only where there is a text.
    fn place(&self) -> String {
        if self.0.source.text().is_empty() {
            return self.0.source.file_name().to_owned();
        }
        let (line, column) = self.line_column();
        let place = format!("{}:{line}:{column}", self.0.source.file_name());
        if self.0.key.is_root() { place } else { format!("{place}: {}", self.0.key) }
    }

    /// The whole error as a person reads it: title, place, excerpt with a caret, fix. Ends with a line break.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let inner = &*self.0;
        let title = inner.problem.to_string();
        let key = inner.key.to_string();
        let (line, column) = self.line_column();
        let group = Group::with_title(Level::ERROR.primary_title(title));
        let group = match &inner.span {
            Some(span) => group.element(
                Snippet::source(inner.source.text())
                    .path(inner.source.file_name())
                    .annotation(AnnotationKind::Primary.span(span.clone()).label(key)),
            ),
            None if inner.source.text().is_empty() => group.element(Origin::path(inner.source.file_name())),
            None => group.element(Origin::path(inner.source.file_name()).line(line).char_column(column)),
        };
        let group = group.element(Level::HELP.message(inner.problem.fix()));
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = renderer.render(&[group]);
        text.push('\n');
        text
    }
}

/// The first line of a span that covers several: a table or a long text needs no more than its beginning.
fn on_one_line(text: &str, span: Range<usize>) -> Range<usize> {
    let end = text.get(span.clone()).and_then(|covered| covered.find('\n')).map_or(span.end, |at| span.start + at);
    span.start..end
}
