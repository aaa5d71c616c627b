//! Why an observer could not see.

use std::error::Error as _;
use std::io;

use thiserror::Error;

/// Completes "failed to …".
#[derive(Debug, Error)]
pub enum ObserveError {
    /// No thread.
    #[error("start the thread of observer {observer}")]
    Thread {
        /// Which observer.
        observer: &'static str,
        /// clone(2), or the descriptor that its requests need.
        #[source]
        source: io::Error,
    },
    /// setns(2) failed.
    #[error("enter the target's network namespace for observer {observer}")]
    Namespace {
        /// Which observer.
        observer: &'static str,
        /// setns(2).
        #[source]
        source: io::Error,
    },
    /// A look failed.
    #[error("{act} for observer {observer}")]
    Look {
        /// Which observer.
        observer: &'static str,
        /// What it tried, "dump the listeners".
        act: String,
        /// The system call.
        #[source]
        source: io::Error,
    },
    /// A bug of ours.
    #[error("finish observer {observer}: its thread panicked")]
    Panicked {
        /// Which observer.
        observer: &'static str,
    },
    /// A request after the end.
    #[error("ask observer {observer}: it has ended")]
    Ended {
        /// Which observer.
        observer: &'static str,
    },
}

impl ObserveError {
    /// For `map_err` on the system calls of a look.
    pub(super) fn look(observer: &'static str, act: impl Into<String>) -> impl FnOnce(io::Error) -> ObserveError {
        let act = act.into();
        move |source| ObserveError::Look { observer, act, source }
    }

    /// With its causes, as one sentence for the history.
    pub(super) fn sentence(&self) -> String {
        let mut sentence = format!("failed to {self}");
        let mut cause = self.source();
        while let Some(it) = cause {
            sentence.push_str(": ");
            sentence.push_str(&it.to_string());
            cause = it.source();
        }
        sentence
    }
}
