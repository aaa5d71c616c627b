//! The recorder: numbers the events in the order of their arrival and streams them to disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use crate::clock::Interval;
use crate::event::{Event, Sink, What};
use crate::run::store::{EVENTS, Lines};

/// Room for the bursts of a thousand processes starting at once; a fuller channel is counted as loss, never waited for.
const CHANNEL_EVENTS: usize = 65_536;

/// A running recorder. It ends when every [`Sink`] of it is gone.
#[derive(Debug)]
pub(super) struct Recorder {
    thread: JoinHandle<io::Result<u64>>,
}

impl Recorder {
    /// Starts one that writes into `directory`.
    pub(super) fn start(directory: &Path) -> io::Result<(Recorder, Sink)> {
        let file = File::create(directory.join(EVENTS))?;
        let (sender, receiver) = sync_channel(CHANNEL_EVENTS);
        let thread = thread::Builder::new().name("recorder".to_owned()).spawn(move || record(&receiver, file))?;
        Ok((Recorder { thread }, Sink::new(sender)))
    }

    /// Waits until everything is on disk; gives the number of events.
    pub(super) fn finish(self) -> io::Result<u64> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the recorder panicked")))
    }
}

fn record(receiver: &Receiver<(Interval, What)>, file: File) -> io::Result<u64> {
    let mut lines = Lines::new(file);
    let mut seq = 0;
    for (at, what) in receiver {
        lines.put(&Event { seq, at, what })?;
        seq += 1;
    }
    lines.finish()?;
    Ok(seq)
}
