//! A text with placeholders.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::Version;

/// A text with placeholders that a run fills in: `{self}` (the stamped copy of this program as the reference server),
/// `{dir}` (the run's directory), `{version}` (the deployed version), `{address}` and `{port}` (of the first endpoint).
///
/// A placeholder is lower-case letters and underscores in braces. `${name}` is left as it is (variables of shells and
/// servers), `{{name}}` gives `{name}`, and every other brace is a brace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub(crate) String);

/// What a run knows when it fills a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholders {
    /// `{self}`: path of the stamped copy of this program.
    pub self_path: String,
    /// `{dir}`: the run's directory for the target.
    pub dir: String,
    /// `{version}`: the deployed version.
    pub version: Version,
    /// `{address}`: the first endpoint's address.
    pub address: SocketAddr,
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// `{name}`.
    Placeholder(&'a str),
}

impl Template {
    /// Every name that may stand in braces.
    pub const NAMES: [&'static str; 5] = ["self", "dir", "version", "address", "port"];

    /// The text with all placeholders filled in, in one pass: what is filled in is not looked at again.
    ///
    /// # Examples
    /// ```
    /// use unbroken::id::Version;
    /// use unbroken::target::{Placeholders, Template};
    ///
    /// let with = Placeholders {
    ///     self_path: "/run/server".to_owned(),
    ///     dir: "/run".to_owned(),
    ///     version: Version(2),
    ///     address: "127.0.0.1:8080".parse()?,
    /// };
    /// let template: Template = serde_json::from_str(r#""listen {address}; # {dir}/v{version}, ${host}""#)?;
    /// assert_eq!(template.fill(&with), "listen 127.0.0.1:8080; # /run/v2, ${host}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fill(&self, with: &Placeholders) -> String {
        let mut filled = String::with_capacity(self.0.len());
        for piece in pieces(&self.0) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder("self") => filled.push_str(&with.self_path),
                Piece::Placeholder("dir") => filled.push_str(&with.dir),
                Piece::Placeholder("version") => filled.push_str(&with.version.to_string()),
                Piece::Placeholder("address") => filled.push_str(&with.address.to_string()),
                Piece::Placeholder("port") => filled.push_str(&with.address.port().to_string()),
                // Only a template that was never validated has another name: leave it as it stands.
                Piece::Placeholder(other) => {
                    filled.push('{');
                    filled.push_str(other);
                    filled.push('}');
                }
            }
        }
        filled
    }

    /// It changes with the deployed version.
    #[must_use]
    pub fn is_versioned(&self) -> bool {
        self.names("version")
    }

    /// It names the program's own copy.
    #[must_use]
    pub fn names_self(&self) -> bool {
        self.names("self")
    }

    /// The same with another text in the place of a part.
    #[must_use]
    pub fn with(&self, part: &str, other: &str) -> Template {
        Template(self.0.replace(part, other))
    }

    /// The text as written.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.0
    }

    /// The first name in braces that is none of [`Template::NAMES`].
    pub(super) fn unknown_name(text: &str) -> Option<&str> {
        pieces(text).into_iter().find_map(|piece| match piece {
            Piece::Placeholder(name) if !Template::NAMES.contains(&name) => Some(name),
            Piece::Placeholder(_) | Piece::Text(_) => None,
        })
    }

    fn names(&self, name: &str) -> bool {
        pieces(&self.0).contains(&Piece::Placeholder(name))
    }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    // Text not yet put into `pieces` begins at `done`; braces are looked for from `from`.
    let (mut done, mut from) = (0, 0);
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let Some(name) = name_at(text, open + 1) else {
            from = open + 1;
            continue;
        };
        let close = open + 1 + name.len();
        from = close + 1;
        if text[..open].ends_with('{') && text[close..].starts_with("}}") {
            // `{{name}}`: drop the outer braces.
            pieces.push(Piece::Text(&text[done..open - 1]));
            pieces.push(Piece::Text(&text[open..=close]));
            (done, from) = (close + 2, close + 2);
        } else if !text[..open].ends_with('$') {
            pieces.push(Piece::Text(&text[done..open]));
            pieces.push(Piece::Placeholder(name));
            done = close + 1;
        }
    }
    pieces.push(Piece::Text(&text[done..]));
    pieces
}

/// The name that ends at a closing brace.
fn name_at(text: &str, at: usize) -> Option<&str> {
    let rest = &text[at..];
    let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'))?;
    (end > 0 && rest[end..].starts_with('}')).then_some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, want: &str) {
        let with = Placeholders {
            self_path: "/run/{version}/server".to_owned(),
            dir: "/run".to_owned(),
            version: Version(3),
            address: "127.0.0.1:80".parse().expect("an address"),
        };
        assert_eq!(Template(template.to_owned()).fill(&with), want);
    }

    #[test]
    fn placeholders_are_filled_once() {
        check("{dir}/a-{version} {address} {port}", "/run/a-3 127.0.0.1:80 80");
        check("{self}", "/run/{version}/server");
    }

    #[test]
    fn other_braces_stay() {
        check("events { worker_connections 1; } {}", "events { worker_connections 1; } {}");
        check("${dir} {{dir}} {{{dir}", "${dir} {dir} {{/run");
        check("{\"a\": {dir}}", "{\"a\": /run}");
        check("{dir", "{dir");
    }

    #[test]
    fn only_a_placeholder_makes_a_text_versioned() {
        assert!(Template("v{version}".to_owned()).is_versioned());
        assert!(!Template("{{version}} ${version}".to_owned()).is_versioned());
        assert!(Template("{self}".to_owned()).names_self());
    }

    #[test]
    fn a_misspelt_placeholder_is_found() {
        assert_eq!(Template::unknown_name("{dir}/{vresion}"), Some("vresion"));
        assert_eq!(Template::unknown_name("http { ${uri} }"), None);
    }
}
