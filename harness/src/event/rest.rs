//! A target at rest, and a generation that only waits.

use serde::{Deserialize, Serialize};

use crate::id::{Image, UpgradeId};

/// One process of a target at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRest {
    /// Which image.
    pub image: Image,
    /// How many descriptors it has open.
    pub descriptors: usize,
    /// It holds a listener of the endpoints.
    pub holds_listener: bool,
    /// Bytes of its arguments and of its environment, a number in them counted as one; `None` when they cannot be read.
    #[serde(default)]
    pub words: Option<usize>,
    /// The main process lives, and it neither is it nor descends from it.
    #[serde(default)]
    pub strays: bool,
}

/// The memory of a target at rest, and what it has used of the processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    /// The upgrade that it follows; 0 before the first.
    pub upgrade: UpgradeId,
    /// Of each live process: KiB of its memory that lie in the machine's (VmRSS of proc_pid_status(5)).
    pub kib: Vec<(Image, u64)>,
    /// Milliseconds of processor of all its processes since it began, those that have ended included, in steps of ten; `None` where this
    /// cannot be told.
    #[serde(default)]
    pub spent_ms: Option<u64>,
}

/// What the processes of a draining generation did with the processors, between the two instants of the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainWatched {
    /// The upgrade that they drain after.
    pub upgrade: UpgradeId,
    /// Those that held the listener before the trigger, the main process excepted.
    pub processes: Vec<ProcessorTime>,
}

/// The processor time of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorTime {
    /// Which image.
    pub image: Image,
    /// For how many microseconds it ran, and for how many more it was ready to; `None` when it was gone in the end.
    pub used: Option<Microseconds>,
}

/// Times that only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Microseconds {
    /// On a processor.
    pub ran: u64,
    /// Ready to run, while others had the processors.
    pub waited: u64,
}
