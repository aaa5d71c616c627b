//! From text to the types that mirror it, with serde's complaints turned into problems at their place.

use serde::de::DeserializeOwned;

use super::problem::did_you_mean;
use super::{KeyPath, ManifestError, Source};

/// Why a text is not a document of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadProblem {
    /// The file could not be read.
    #[error("cannot read the file: {reason}")]
    Unreadable {
        /// The system's word for it.
        reason: String,
    },
    /// It is not TOML.
    #[error("not valid TOML: {reason}")]
    Syntax {
        /// What the parser says.
        reason: String,
    },
    /// A key that nothing knows.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// It.
        key: String,
        /// The keys that may stand there.
        known: Vec<String>,
    },
    /// A key that must be there.
    #[error("the key `{key}` is missing")]
    MissingKey {
        /// It.
        key: String,
    },
    /// A value of another type.
    #[error("expected {wanted}, found {found}")]
    WrongType {
        /// The type that belongs there.
        wanted: String,
        /// What stands there.
        found: String,
        /// An example of the key's value.
        example: Option<&'static str>,
    },
    /// A word outside of a closed list.
    #[error("unknown word `{word}`")]
    UnknownWord {
        /// It.
        word: String,
        /// The words that may stand there.
        known: Vec<String>,
        /// An example of the key's value.
        example: Option<&'static str>,
    },
    /// Something else about the shape of a value.
    #[error("{reason}")]
    Shape {
        /// What the parser says.
        reason: String,
        /// An example of the key's value.
        example: Option<&'static str>,
    },
}

impl ReadProblem {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            ReadProblem::Unreadable { .. } => "check the path and the permissions".to_owned(),
            ReadProblem::Syntax { .. } => "see https://toml.io for the syntax".to_owned(),
            ReadProblem::UnknownKey { key, known } => did_you_mean(key, known.iter().map(String::as_str)),
            ReadProblem::MissingKey { key } => match example(&KeyPath::root().key(key)) {
                Some(example) => format!("add for example: {example}"),
                None => format!("add `{key} = …`; docs/MANIFEST.md describes every key"),
            },
            ReadProblem::UnknownWord { word, known, example } => {
                let hint = did_you_mean(word, known.iter().map(String::as_str));
                match example.filter(|_| !hint.ends_with('?')) {
                    Some(example) => format!("{hint}; for example: {example}"),
                    None => hint,
                }
            }
            ReadProblem::WrongType { example, .. } | ReadProblem::Shape { example, .. } => match example {
                Some(example) => format!("write for example: {example}"),
                None => "docs/MANIFEST.md describes every key".to_owned(),
            },
        }
    }
}

impl ManifestError {
    /// A file that could not be read, for the caller who tried: this part of the program opens no file.
    pub fn unreadable(file_name: impl Into<String>, reason: impl Into<String>) -> ManifestError {
        let problem = ReadProblem::Unreadable { reason: reason.into() };
        ManifestError::new(Source::new(file_name, ""), KeyPath::root(), None, problem.into())
    }
}

impl Source {
    /// Reads the text as a document of type `T`.
    ///
    /// # Errors
    /// The first thing that is not TOML or not of the type's shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ManifestError> {
        let failed = |error: toml::de::Error, syntax: bool| {
            let span = error.span();
            let mut key = span.as_ref().map(|span| self.path_at(span)).unwrap_or_default();
            let problem = if syntax {
                ReadProblem::Syntax { reason: error.message().to_owned() }
            } else {
                translate(error.message(), &key)
            };
            let whole = key.is_root();
            if let ReadProblem::MissingKey { key: missing } = &problem {
                key = key.key(missing);
            }
            // The document's own span is its first byte: pointing there would say that the fault is there.
            ManifestError::new(self.clone(), key, span.filter(|_| syntax || !whole), problem.into())
        };
        let document = toml::Deserializer::parse(self.text()).map_err(|error| failed(error, true))?;
        T::deserialize(document).map_err(|error| failed(error, false))
    }
}

/// serde's fixed phrases (`serde::de::Error`'s provided methods) and those of the toml crate.
fn translate(message: &str, at: &KeyPath) -> ReadProblem {
    let example = example(at);
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut words = quoted(rest).into_iter();
        return ReadProblem::UnknownKey { key: words.next().unwrap_or_default(), known: words.collect() };
    }
    if let Some((extra, known)) =
        message.strip_prefix("unexpected keys in table: ").and_then(|rest| rest.split_once(", available keys: "))
    {
        let key = extra.split(", ").next().unwrap_or_default().to_owned();
        return ReadProblem::UnknownKey { key, known: known.split(", ").map(str::to_owned).collect() };
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        return ReadProblem::MissingKey { key: quoted(rest).into_iter().next().unwrap_or_default() };
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let mut words = quoted(rest).into_iter();
        let word = words.next().unwrap_or_default();
        return ReadProblem::UnknownWord { word, known: words.collect(), example };
    }
    let typed = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    if let Some((found, wanted)) = typed.and_then(|rest| rest.rsplit_once(", expected ")) {
        let (wanted, found) = (plain_type(wanted), plain_type(found));
        // Two keys are called `signal`: the step, which is a table, and the name in it.
        let step = at.last_key() == Some("signal") && wanted == "a table";
        let example = if step { Some("{ signal = { signal = \"HUP\", to = \"main\" } }") } else { example };
        return ReadProblem::WrongType { wanted, found, example };
    }
    let reason = match message {
        "wanted exactly 1 element, more than 1 element" | "wanted exactly 1 element, found 0 elements" => {
            "exactly one key belongs in this table"
        }
        "wanted string or table" => "a word or a table belongs here",
        other => other,
    };
    ReadProblem::Shape { reason: reason.to_owned(), example }
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// serde's names for types in the words of TOML.
fn plain_type(serde: &str) -> String {
    match serde {
        "a sequence" | "sequence" => "an array".to_owned(),
        "map" | "a map" => "a table".to_owned(),
        "u64" | "u32" => "a whole number, not negative".to_owned(),
        "unit variant" => "a word alone".to_owned(),
        "newtype variant" => "a value".to_owned(),
        _ if serde.starts_with("struct ") => "a table".to_owned(),
        _ if ["string ", "integer ", "boolean "].iter().any(|kind| serde.starts_with(kind)) => format!("the {serde}"),
        _ => serde.to_owned(),
    }
}

/// How one would write a key; for keys whose shape is not obvious.
fn example(at: &KeyPath) -> Option<&'static str> {
    Some(match at.last_key()? {
        "name" => "name = \"mine/server\"",
        "about" => "about = \"my server, restarted by SIGHUP\"",
        "profiles" => "profiles = [\"foreground\", \"restart\"]",
        "claims" => "claims = [\"pidfile\"]",
        "disclaims" => "disclaims = { pidfile = \"its supervisor knows the pid\" }",
        "requires" => "requires = [{ program = \"nginx\", install = \"apt-get install -y nginx\" }]",
        "launch" => "launch = { command = [\"my-server\", \"--listen\", \"{address}\"] }",
        "command" => "command = [\"my-server\", \"--listen\", \"{address}\"]",
        "environment" => "environment = { RUST_LOG = \"info\" }",
        "umask" => "umask = \"022\"",
        "mode" => "mode = \"0644\"",
        "files" => "[[files]] with `path` and `content`",
        "endpoints" => "[[endpoints]] with `name` and `address`",
        "address" => "address = \"127.0.0.1:8080\"",
        "slow" => "slow = { path = \"/slow\", takes_ms = 600 }",
        "stream" => "stream = { path = \"/stream\", bytes = 16777216 }",
        "upload" => "upload = { path = \"/upload\" }",
        "ready" => "ready = { answers = \"http\" }",
        "main" => "main = \"pidfile\"",
        "restart" => "[restart] with `steps` and `done`",
        "steps" => "steps = [\"deploy\", { signal = { signal = \"HUP\", to = \"main\" } }]",
        "done" => "done = \"new-version\"",
        "watch" => "watch = { path = \"{self}\", kind = \"executable\" }",
        "wait" => "{ wait = \"new-main\" }",
        "signal" => "signal = \"HUP\"",
        "to" => "to = \"main\"",
        "stop" => "stop = { signal = \"TERM\" }",
        "stall" => "stall = \"stop-workers\"",
        "deadlines" => "deadlines = { start_ms = 10000 }",
        "start_ms" | "upgrade_ms" | "drain_ms" | "drain_least_ms" | "stop_ms" | "request_ms" | "answer_ms" => {
            "10000, which is ten seconds"
        }
        _ => return None,
    })
}
