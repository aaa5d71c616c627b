//! Where a value stands in a file: `restart.steps[1].signal`.

use std::fmt;

/// One step down into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Into a table.
    Key(String),
    /// Into an array, from 0.
    Index(usize),
}

/// The path of a key or value in a document; the empty one is the document itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPath(pub(super) Vec<Segment>);

/// Which part of an entry an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Its key.
    Key,
    /// Its value.
    Value,
    /// This piece of its text, where the text holds it as written.
    Piece(&'a str),
}

impl KeyPath {
    /// The document itself.
    #[must_use]
    pub fn root() -> KeyPath {
        KeyPath::default()
    }

    /// The path of a key of the document.
    pub fn of(key: impl Into<String>) -> KeyPath {
        KeyPath::root().key(key)
    }

    /// The path of a key of this table.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> KeyPath {
        self.0.push(Segment::Key(key.into()));
        self
    }

    /// The path of an element of this array.
    #[must_use]
    pub fn index(mut self, index: usize) -> KeyPath {
        self.0.push(Segment::Index(index));
        self
    }

    /// It is the document itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last key in it.
    #[must_use]
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if n == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_one_would_write_it() {
        let path = KeyPath::of("restart").key("steps").index(1).key("signal");
        assert_eq!(path.to_string(), "restart.steps[1].signal");
        assert_eq!(path.last_key(), Some("signal"));
        assert_eq!(KeyPath::root().to_string(), "");
    }
}
