//! Reads what the target writes to its standard output or error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ioctl_fionread};

use super::account::Account;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::vantage::Vantage;
use crate::clock::{Interval, Nanos};
use crate::event::What;
use crate::wait::ready_within;

const NAME: &str = "output";
/// A pipe's default capacity: one read empties it.
const CHUNK_BYTES: usize = 64 * 1024;
/// Lines wake the thread at once; looking in between only moves up the instant before which the next one was not
/// written: whatever happened before that came before the line.
const SAMPLE: Duration = Duration::from_millis(10);
/// Longer lines are dumps, not messages; the file has them whole.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// A target that logs each request would fill the history with them; the file has them all.
const LINES_MAX: u32 = 2_000;

/// Observer of one output stream.
#[derive(Debug)]
pub struct OutputObserver;

impl OutputObserver {
    /// Starts it on the read end of a pipe, whose file description must be the harness's alone (it becomes
    /// nonblocking). Everything is appended to `file`; `stream` is the name in the history. Ends at EOF or at the stop,
    /// after what is in the pipe then.
    ///
    /// # Errors
    /// When `file` cannot be opened.
    pub fn spawn(stream: &str, pipe: OwnedFd, file: PathBuf, vantage: Vantage) -> Result<Handle, ObserveError> {
        let stream = stream.to_owned();
        spawn(NAME, vantage, move |vantage, _| {
            let flags = fcntl_getfl(&pipe).and_then(|flags| fcntl_setfl(&pipe, flags | OFlags::NONBLOCK));
            flags
                .map_err(io::Error::from)
                .map_err(ObserveError::look(NAME, format!("prepare the pipe of {stream}")))?;
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&file)
                .map_err(ObserveError::look(NAME, format!("open {}", file.display())))?;
            let lines = Lines { stream, partial: Vec::new(), cut: false, told: 0 };
            Ok(OutputWatch { pipe, file, lines, empty_at: vantage.clock.now() })
        })
    }
}

struct OutputWatch {
    pipe: OwnedFd,
    file: File,
    lines: Lines,
    /// When the pipe was last known to be empty.
    empty_at: Nanos,
}

/// What a read gave.
enum Chunk {
    Bytes(usize),
    Empty,
    End,
}

impl Watch for OutputWatch {
    fn watch(mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let stopped = ready_within(&[vantage.stop.as_fd(), self.pipe.as_fd()], SAMPLE)[0].readable;
            // At the stop only what is there: a writer that never pauses must not hold the end up.
            let mut left = if stopped { self.waiting()? } else { u64::MAX };
            while left > 0 {
                let looked = vantage.clock.now();
                account.sampled(looked);
                match self.read(&mut buffer)? {
                    Chunk::Bytes(length) => {
                        left = left.saturating_sub(length as u64);
                        let at = Interval::new(self.empty_at, vantage.clock.now());
                        self.lines.feed(&buffer[..length], at, vantage);
                    }
                    Chunk::Empty => {
                        self.empty_at = looked;
                        break;
                    }
                    Chunk::End => return self.end(vantage),
                }
                if left == u64::MAX && vantage.stop.is_asked() {
                    left = self.waiting()?;
                }
            }
            if stopped {
                return self.end(vantage);
            }
        }
    }
}

impl OutputWatch {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Chunk, ObserveError> {
        loop {
            match rustix::io::read(&self.pipe, &mut *buffer) {
                Ok(0) => return Ok(Chunk::End),
                Ok(length) => {
                    self.file
                        .write_all(&buffer[..length])
                        .map_err(ObserveError::look(NAME, format!("write down {}", self.lines.stream)))?;
                    return Ok(Chunk::Bytes(length));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Chunk::Empty),
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Bytes in the pipe (FIONREAD), at least one so that an EOF is seen.
    fn waiting(&self) -> Result<u64, ObserveError> {
        Ok(ioctl_fionread(&self.pipe).map_err(|error| self.failed(error))?.max(1))
    }

    fn failed(&self, error: Errno) -> ObserveError {
        ObserveError::look(NAME, format!("read {}", self.lines.stream))(error.into())
    }

    fn end(mut self, vantage: &Vantage) -> Result<(), ObserveError> {
        let at = Interval::new(self.empty_at, vantage.clock.now());
        self.lines.finish(at, vantage);
        Ok(())
    }
}

/// Cuts bytes into lines and tells them.
struct Lines {
    stream: String,
    partial: Vec<u8>,
    /// The line outgrew its limit and was told already; the rest up to its end is skipped.
    cut: bool,
    told: u32,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], at: Interval, vantage: &Vantage) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if !self.cut {
                let room = LINE_BYTES_MAX - self.partial.len();
                self.partial.extend_from_slice(&text[..text.len().min(room)]);
                if text.len() > room {
                    self.tell(" …", at, vantage);
                    self.cut = true;
                }
            }
            if ends {
                if !self.cut {
                    self.tell("", at, vantage);
                }
                self.cut = false;
            }
        }
    }

    /// The line that the end left without its newline.
    fn finish(&mut self, at: Interval, vantage: &Vantage) {
        if !self.partial.is_empty() {
            self.tell("", at, vantage);
        }
    }

    fn tell(&mut self, mark: &str, at: Interval, vantage: &Vantage) {
        let mut line = String::from_utf8_lossy(&self.partial).into_owned() + mark;
        self.partial.clear();
        if self.told > LINES_MAX {
            return;
        }
        if self.told == LINES_MAX {
            line = format!("output capped: more than {LINES_MAX} lines");
        }
        self.told += 1;
        vantage.put(at, What::Output { stream: self.stream.clone(), line });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rustix::pipe::pipe;

    use super::super::fixture::Fixture;
    use super::*;

    fn check(name: &str, write: impl FnOnce(OwnedFd) -> Option<OwnedFd>) -> (Vec<String>, Vec<u8>) {
        let path = std::env::temp_dir().join(format!("unbroken-output-{}-{name}", std::process::id()));
        let fixture = Fixture::new(None);
        let (reader, writer) = pipe().expect("pipe");
        let handle = OutputObserver::spawn("stdout", reader, path.clone(), fixture.vantage()).expect("spawn");
        let kept = write(writer);
        if kept.is_some() {
            fixture.stop();
        }
        handle.finish().expect("finish");
        let line = |what| if let What::Output { line, .. } = what { Some(line) } else { None };
        let lines = fixture.take().into_iter().filter_map(|(_, what)| line(what)).collect();
        (lines, take_file(&path))
    }

    fn take_file(path: &Path) -> Vec<u8> {
        let bytes = fs::read(path).expect("read");
        fs::remove_file(path).expect("remove");
        bytes
    }

    #[test]
    fn lines_are_told_until_the_end_and_the_file_has_every_byte() {
        let (lines, file) = check("lines", |pipe| {
            let mut pipe = File::from(pipe);
            pipe.write_all(b"one\n\ntw").expect("write");
            pipe.write_all(b"o \xff\nlast").expect("write");
            None
        });
        assert_eq!(lines, ["one", "", "two \u{fffd}", "last"]);
        assert_eq!(file, b"one\n\ntwo \xff\nlast");
    }

    #[test]
    fn the_stop_ends_it_after_what_is_in_the_pipe() {
        let (lines, _) = check("stop", |pipe| {
            rustix::io::write(&pipe, b"held open\n").expect("write");
            Some(pipe)
        });
        assert_eq!(lines, ["held open"]);
    }

    #[test]
    fn long_lines_and_many_lines_are_cut_in_the_history_only() {
        let (lines, file) = check("caps", |pipe| {
            let mut pipe = File::from(pipe);
            pipe.write_all(&[b'x'; 10_000]).expect("write");
            pipe.write_all(b"\n").expect("write");
            for _ in 0..3_000 {
                pipe.write_all(b"y\n").expect("write");
            }
            None
        });
        assert_eq!(lines[0].len(), LINE_BYTES_MAX + " …".len());
        assert_eq!(lines.len(), 2_001);
        assert_eq!(lines[1], "y");
        assert_eq!(lines[2_000], "output capped: more than 2000 lines");
        assert_eq!(file.len(), 10_001 + 6_000);
    }
}
