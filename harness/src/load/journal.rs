//! Every request of a load in a file, and back: gzip of blocks, each a letter, a length (LEB128) and its bytes.
//!
//! | Letter | Bytes |
//! |---|---|
//! | `H` | what was asked ([`Heading`]), JSON; the first block |
//! | `A` | answered requests ([`codec`]) |
//! | `F` | a failed one with all that is known of it, JSON |
//! | `E` | what the driver counted, JSON; the last block: a file without it is not whole |
//!
//! It is written by a thread of its own: what compresses does not make requests late.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use thiserror::Error;

use crate::drive::codec::{self, BLOCK};
use crate::drive::{DriveReport, FORMAT, Heading, Lost, Record, Seen};

/// All that a file holds.
#[derive(Debug)]
pub struct Journaled {
    /// What it was.
    pub heading: Heading,
    /// The answered requests.
    pub answered: Vec<Record>,
    /// The others.
    pub lost: Vec<Lost>,
    /// What the driver counted.
    pub report: DriveReport,
}

/// Why a file could not be written, or read.
#[derive(Debug, Error)]
#[error("{what} {path}")]
pub struct JournalError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A file that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    block: Vec<Record>,
    /// Without a bound: a disk that is slow makes nobody late. At 20 000 requests a second it takes five blocks of 128 KiB each second.
    blocks: Sender<Block>,
    writer: JoinHandle<io::Result<()>>,
}

enum Block {
    Json(u8, Vec<u8>),
    Answered(Vec<Record>),
}

impl Journal {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path, heading: &Heading) -> Result<Journal, JournalError> {
        let failed = |source| JournalError { what: "write the load to", path: path.to_owned(), source };
        let file = File::create(path).map_err(failed)?;
        let (blocks, taken) = channel();
        let writer = std::thread::Builder::new().name("journal".to_owned());
        let writer = writer.spawn(move || write(file, &taken)).map_err(failed)?;
        let journal = Journal { path: path.to_owned(), block: Vec::with_capacity(BLOCK), blocks, writer };
        journal.send(Block::Json(b'H', json(heading)));
        Ok(journal)
    }

    /// Takes what was seen of the load.
    pub fn take(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Interval(_) => {}
            Seen::Answered(record) => {
                self.block.push(*record);
                if self.block.len() == BLOCK {
                    let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
                    self.send(Block::Answered(block));
                }
            }
            Seen::Lost(lost) => self.send(Block::Json(b'F', json(lost))),
        }
    }

    /// Ends the file with what the driver counted; the losses of that stand in the file already.
    ///
    /// # Errors
    /// When it could not be written.
    ///
    /// # Panics
    /// When its thread did.
    pub fn finish(mut self, report: &DriveReport) -> Result<(), JournalError> {
        let last = std::mem::take(&mut self.block);
        self.send(Block::Answered(last));
        self.send(Block::Json(b'E', json(&DriveReport { losses: Vec::new(), ..report.clone() })));
        drop(self.blocks);
        let written = self.writer.join().expect("the writer does not panic");
        written.map_err(|source| JournalError { what: "write the load to", path: self.path, source })
    }

    /// A writer that has ended says why when it is asked for.
    fn send(&self, block: Block) {
        let _ended = self.blocks.send(block);
    }
}

fn json(of: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(of).expect("plain data")
}

fn write(file: File, blocks: &Receiver<Block>) -> io::Result<()> {
    let mut file = GzEncoder::new(BufWriter::new(file), Compression::fast());
    let mut bytes = Vec::new();
    for block in blocks {
        let letter = match block {
            Block::Json(letter, json) => {
                bytes.extend(json);
                letter
            }
            Block::Answered(mut records) => {
                codec::encode(&mut records, &mut bytes);
                b'A'
            }
        };
        let mut head = vec![letter];
        codec::put(&mut head, bytes.len() as u64);
        file.write_all(&head)?;
        file.write_all(&bytes)?;
        bytes.clear();
    }
    file.finish()?.flush()
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, or is not one, or not whole.
pub fn read(path: &Path) -> Result<Journaled, JournalError> {
    let failed = |source| JournalError { what: "read the load in", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    GzDecoder::new(BufReader::new(file)).read_to_end(&mut bytes).map_err(failed)?;
    parse(&bytes).map_err(|what| failed(io::Error::new(io::ErrorKind::InvalidData, what)))
}

fn parse(mut bytes: &[u8]) -> Result<Journaled, String> {
    let (mut heading, mut report) = (None, None);
    let (mut answered, mut lost) = (Vec::new(), Vec::new());
    while let Some((letter, rest)) = bytes.split_first() {
        bytes = rest;
        let length = codec::take(&mut bytes).and_then(|it| usize::try_from(it).ok());
        let (block, rest) =
            length.and_then(|it| bytes.split_at_checked(it)).ok_or("it ends in the middle of a block")?;
        bytes = rest;
        match letter {
            b'H' => heading = Some(serde_json::from_slice::<Heading>(block).map_err(|error| error.to_string())?),
            b'A' => answered.extend(codec::decode(block).ok_or("a block of requests is broken")?),
            b'F' => lost.push(serde_json::from_slice(block).map_err(|error| error.to_string())?),
            b'E' => report = Some(serde_json::from_slice(block).map_err(|error| error.to_string())?),
            other => return Err(format!("a block of unknown kind {other}")),
        }
    }
    let heading = heading.ok_or("it does not say what the load was")?;
    if heading.format != FORMAT {
        return Err(format!("its form has number {}, this program reads {FORMAT}", heading.format));
    }
    let report = report.ok_or("it has no end: the load that wrote it was killed")?;
    Ok(Journaled { heading, answered, lost, report })
}
