//! A run on disk: what is needed to judge it again, and what a person wants to look at.
//!
//! `plan.json` · `events.jsonl.gz` · `requests.jsonl.gz` · `account.json` · `verdicts.json` · `target/` (the target's own
//! directory: its files, pidfile and logs).

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::history::History;
use crate::judge::Outcome;
use crate::plan::Plan;
use crate::request::{LoadAccount, Request};

pub(super) const EVENTS: &str = "events.jsonl.gz";
const PLAN: &str = "plan.json";
const REQUESTS: &str = "requests.jsonl.gz";
const ACCOUNT: &str = "account.json";
const VERDICTS: &str = "verdicts.json";

/// Why a run could not be written or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("access {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("understand {path}, line {line}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// What a run counted beside its events and requests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) began: String,
    pub(super) load: LoadAccount,
    pub(super) lost_events: u64,
    pub(super) faults: Vec<String>,
}

/// Rows on their way into a compressed file. They are gathered first: serde writes word by word, and for each write flate2
/// clears 32 KiB of room (an eighth of all that the harness did).
pub(super) struct Lines(BufWriter<GzEncoder<File>>);

impl Lines {
    /// None yet.
    pub(super) fn new(file: File) -> Lines {
        Lines(BufWriter::with_capacity(32 << 10, GzEncoder::new(file, Compression::fast())))
    }

    /// One more.
    pub(super) fn put(&mut self, row: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, row)?;
        self.0.write_all(b"\n")
    }

    /// Puts everything on disk.
    pub(super) fn finish(self) -> io::Result<()> {
        self.0.into_inner().map_err(io::IntoInnerError::into_error)?.finish().map(drop)
    }
}

/// Writes the plan: the first thing of a run.
pub(super) fn write_plan(directory: &Path, plan: &Plan) -> Result<(), StoreError> {
    write_json(&directory.join(PLAN), plan)
}

/// Writes what the load and the run counted.
pub(super) fn write_end(directory: &Path, requests: &[Request], account: &Account) -> Result<(), StoreError> {
    let path = directory.join(REQUESTS);
    let write = || -> io::Result<()> {
        let mut lines = Lines::new(File::create(&path)?);
        requests.iter().try_for_each(|request| lines.put(request))?;
        lines.finish()
    };
    write().map_err(|source| StoreError::File { path: path.clone(), source })?;
    write_json(&directory.join(ACCOUNT), account)
}

/// Writes the verdicts beside their run.
///
/// # Errors
/// [`StoreError::File`].
pub fn write_verdicts(directory: &Path, outcome: &Outcome) -> Result<(), StoreError> {
    write_json(&directory.join(VERDICTS), outcome)
}

/// Reads a run back.
///
/// # Errors
/// [`StoreError`], naming the file that is missing or damaged.
pub fn read(directory: &Path) -> Result<History, StoreError> {
    let account: Account = read_json(&directory.join(ACCOUNT))?;
    Ok(History {
        began: account.began,
        plan: read_json(&directory.join(PLAN))?,
        events: read_lines(&directory.join(EVENTS))?,
        requests: read_lines(&directory.join(REQUESTS))?,
        account: account.load,
        lost_events: account.lost_events,
        faults: account.faults,
    })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|source| StoreError::Content {
        path: path.to_owned(),
        line: 1,
        source,
    })?;
    text.push(b'\n');
    fs::write(path, text).map_err(|source| StoreError::File { path: path.to_owned(), source })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let text = fs::read(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| StoreError::Content {
        path: path.to_owned(),
        line: source.line(),
        source,
    })
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
    let file = |source| StoreError::File { path: path.to_owned(), source };
    let reader = BufReader::new(GzDecoder::new(File::open(path).map_err(file)?));
    let mut rows = Vec::new();
    for (n, line) in reader.lines().enumerate() {
        let line = line.map_err(file)?;
        let row = serde_json::from_str(&line).map_err(|source| StoreError::Content {
            path: path.to_owned(),
            line: n + 1,
            source,
        })?;
        rows.push(row);
    }
    Ok(rows)
}
