//! What a program does before it can serve, such as filling its caches: here it takes time and nothing else.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::log::Log;
use crate::poll;
use crate::signal::{Request, Signals};

/// What a program says when its initialisation is complete, where that takes time.
const INITIALISED: &str = "initialised";

/// How it came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is complete.
    Complete(Hangups),
    /// The program was told to stop.
    Stopped,
    /// Nobody waits for it any more.
    InVain,
}

/// Whether SIGHUP has come meanwhile. What is being started may be older by now than what is installed, so it is not to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangups {
    /// It has.
    Some,
    /// It has not.
    None,
}

/// An initialisation.
#[derive(Debug)]
pub struct Initialisation<'a> {
    /// How long.
    pub takes: Duration,
    /// Its end of file means that nobody waits any more; `None` where somebody always does.
    pub waiting: Option<BorrowedFd<'a>>,
    /// It ends early when the program is told to stop.
    pub signals: &'a Signals,
    /// Who speaks.
    pub log: &'a Log,
}

impl Initialisation<'_> {
    /// Until it is complete or in vain.
    ///
    /// # Errors
    /// What poll(2) or reading signals report.
    pub fn complete(&self) -> io::Result<Outcome> {
        if self.takes.is_zero() {
            return Ok(Outcome::Complete(Hangups::None));
        }
        let deadline = Some(Instant::now() + self.takes);
        let mut hangups = Hangups::None;
        let mut entries = vec![poll::readable(self.signals)];
        entries.extend(self.waiting.as_ref().map(poll::readable));
        while poll::until(&mut entries, deadline)? {
            match self.signals.next()? {
                Some(Request::Upgrade) => hangups = Hangups::Some,
                Some(Request::Stop) => return Ok(Outcome::Stopped),
                None => return Ok(Outcome::InVain),
            }
        }
        self.log.line(INITIALISED);
        Ok(Outcome::Complete(hangups))
    }

    /// The mistake of [`crate::defect::Early::Serves`].
    pub fn complete_meanwhile(&self) {
        let (takes, log) = (self.takes, self.log.clone());
        std::thread::spawn(move || {
            std::thread::sleep(takes);
            log.line(INITIALISED);
        });
    }
}
