//! A configuration file: lines `name = value`, read whole and checked before anything depends on it.
//!
//! When a generation reads it decides what a mistake in it costs. One that reads it before it says that it is ready is given up,
//! and the one before serves on; one that says so first, and then finds the mistake, has already sent its predecessor away.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The one setting that there is.
const CONNECTIONS_MAX: &str = "connections-max";

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Open connections at which a generation stops accepting; `None`: no limit.
    pub connections_max: Option<usize>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// A line, counted from 1, is not one.
    Line(PathBuf, LineError),
}

/// What is wrong with a line, and with which.
#[derive(Debug, PartialEq, Eq)]
pub struct LineError {
    /// Counted from 1.
    pub line: usize,
    /// The reason, with what is expected.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(out, "cannot read {}: {error}", path.display()),
            Self::Line(path, error) => write!(out, "{}, line {}: {}", path.display(), error.line, error.reason),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], complete, for standard error.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Read(path.to_owned(), error))?;
        text.parse().map_err(|error| ConfigError::Line(path.to_owned(), error))
    }
}

impl FromStr for Config {
    type Err = LineError;

    /// Empty lines, and those that begin with `#`, say nothing; what is said twice is said last.
    fn from_str(text: &str) -> Result<Self, LineError> {
        let mut config = Self::default();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            config.take(content).map_err(|reason| LineError { line, reason })?;
        }
        Ok(config)
    }
}

impl Config {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once('=').ok_or_else(|| format!("`{line}` is not `name = value`"))?;
        let (name, value) = (name.trim(), value.trim());
        if name != CONNECTIONS_MAX {
            return Err(format!("there is no setting `{name}`, only `{CONNECTIONS_MAX}`"));
        }
        let max = value.parse().ok().filter(|max| *max > 0);
        self.connections_max = Some(max.ok_or_else(|| format!("`{value}` is not a number above 0"))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_comments_are_not() {
        assert_eq!("".parse(), Ok(Config::default()));
        let text = "# how many\n\n connections-max = 12 \n";
        assert_eq!(text.parse(), Ok(Config { connections_max: Some(12) }));
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, line, word) in [
            ("\nconnections-max = many\n", 2, "many"),
            ("connections-max = 0", 1, "above 0"),
            ("connection-max = 3", 1, "connections-max"),
            ("this is none", 1, "name = value"),
        ] {
            let error = text.parse::<Config>().expect_err(text);
            assert_eq!(error.line, line, "{text}");
            assert!(error.reason.contains(word), "{error:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::read(Path::new("/absent/server.conf")).expect_err("it is not there").to_string();
        assert!(error.contains("/absent/server.conf"), "{error}");
    }
}
