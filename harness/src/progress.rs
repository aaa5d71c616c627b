//! What a long piece of work tells while it runs. Data only: the command line decides how to show it.

use crate::event::Phase;
use crate::verdict::Verdict;

/// One step of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A target's program is being built, before its first run.
    BuildBegan {
        /// The target.
        target: String,
    },
    /// A run of one scenario against one target began.
    RunBegan {
        /// The target.
        target: String,
        /// The scenario.
        scenario: String,
        /// Which of all runs of this invocation, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// It entered a phase.
    Phase(Phase),
    /// It ended and was judged.
    RunEnded {
        /// The worst verdict, `None` when no check applied.
        verdict: Option<Verdict>,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
}

/// Receives progress; called from the threads that execute, one at a time.
pub type Listener<'a> = &'a mut (dyn FnMut(Progress) + Send);
