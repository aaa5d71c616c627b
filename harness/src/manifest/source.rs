//! A text with its name, and where its keys stand in it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key_path::Segment;
use super::{KeyPath, ManifestError, Part, Problem};

/// The text of a manifest, scenario or expectations file, with the name that errors show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    file_name: String,
    text: String,
}

impl Source {
    /// A text and the file name that errors show.
    pub fn new(file_name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { file_name: file_name.into(), text: text.into() }
    }

    /// The name that errors show.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// An error at a key of this text. Where the key is absent, the nearest enclosing one that exists is shown.
    pub fn error(&self, key: KeyPath, part: Part<'_>, problem: impl Into<Problem>) -> ManifestError {
        let span = self.place(&key, part);
        ManifestError::new(self.clone(), key, span, problem.into())
    }

    /// The bytes at which an entry stands; `None` for the document itself and for a text that is no TOML.
    fn place(&self, key: &KeyPath, part: Part<'_>) -> Option<Range<usize>> {
        let table = DeTable::parse(&self.text).ok()?;
        let mut place: Option<Place> = None;
        let mut here = Here::Table(table.get_ref());
        for segment in &key.0 {
            let Some((next, value)) = here.step(segment) else { break };
            place = Some(next);
            here = Here::of(value);
        }
        let place = place?;
        let span = match part {
            Part::Key => place.key,
            Part::Value => place.value,
            Part::Piece(piece) => match self.text.get(place.value.clone()).and_then(|text| text.find(piece)) {
                Some(at) => place.value.start + at..place.value.start + at + piece.len(),
                None => place.value,
            },
        };
        Some(span)
    }

    /// The path of the key or value that stands at exactly these bytes.
    pub(super) fn path_at(&self, span: &Range<usize>) -> KeyPath {
        DeTable::parse(&self.text)
            .ok()
            .and_then(|table| find(&Here::Table(table.get_ref()), span, &KeyPath::root()))
            .unwrap_or_default()
    }
}

/// Where an entry stands. An array element's key is itself.
struct Place {
    key: Range<usize>,
    value: Range<usize>,
}

/// A container while walking down.
enum Here<'a, 'i> {
    Table(&'a DeTable<'i>),
    Array(&'a [Spanned<DeValue<'i>>]),
    Leaf,
}

impl<'a, 'i> Here<'a, 'i> {
    fn of(value: &'a Spanned<DeValue<'i>>) -> Here<'a, 'i> {
        match value.get_ref() {
            DeValue::Table(table) => Here::Table(table),
            DeValue::Array(array) => Here::Array(array),
            _ => Here::Leaf,
        }
    }

    fn step(&self, segment: &Segment) -> Option<(Place, &'a Spanned<DeValue<'i>>)> {
        self.entries().into_iter().find(|(name, _, _)| name == segment).map(|(_, place, value)| (place, value))
    }

    fn entries(&self) -> Vec<(Segment, Place, &'a Spanned<DeValue<'i>>)> {
        match self {
            Here::Table(table) => table
                .iter()
                .map(|(key, value)| {
                    let place = Place { key: key.span(), value: value.span() };
                    (Segment::Key(key.get_ref().to_string()), place, value)
                })
                .collect(),
            Here::Array(array) => array
                .iter()
                .enumerate()
                .map(|(n, value)| (Segment::Index(n), Place { key: value.span(), value: value.span() }, value))
                .collect(),
            Here::Leaf => Vec::new(),
        }
    }
}

fn find(here: &Here<'_, '_>, span: &Range<usize>, above: &KeyPath) -> Option<KeyPath> {
    here.entries().into_iter().find_map(|(segment, place, value)| {
        let mut path = above.clone();
        path.0.push(segment);
        // The innermost entry first: an implicit table has the span of its first key.
        find(&Here::of(value), span, &path).or((place.key == *span || place.value == *span).then_some(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1\n[b]\nc = [\"x\", { d = \"y {z}\" }]\n[[e]]\nf = 2\n[[e]]\nf = 3\n";

    fn check(key: KeyPath, part: Part<'_>, want: &str) {
        let source = Source::new("t.toml", TEXT);
        let span = source.place(&key, part).expect("the key or one above it exists");
        assert_eq!(&TEXT[span.clone()], want);
    }

    #[test]
    fn a_path_leads_to_its_bytes() {
        check(KeyPath::of("a"), Part::Key, "a");
        check(KeyPath::of("a"), Part::Value, "1");
        check(KeyPath::of("b").key("c").index(0), Part::Value, "\"x\"");
        check(KeyPath::of("b").key("c").index(1).key("d"), Part::Key, "d");
        check(KeyPath::of("b").key("c").index(1).key("d"), Part::Piece("{z}"), "{z}");
        check(KeyPath::of("e").index(1).key("f"), Part::Value, "3");
    }

    #[test]
    fn an_absent_key_leads_to_what_encloses_it() {
        check(KeyPath::of("b").key("absent"), Part::Key, "b");
    }

    #[test]
    fn bytes_lead_back_to_the_path() {
        let source = Source::new("t.toml", TEXT);
        let path = KeyPath::of("e").index(1).key("f");
        let span = source.place(&path, Part::Value).expect("it exists");
        assert_eq!(source.path_at(&span), path);
    }
}
