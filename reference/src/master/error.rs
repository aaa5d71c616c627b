//! Why a master ends that was not told to.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::pidfile::PidfileError;

/// Why the master could not start or go on.
#[derive(Debug)]
pub enum MasterError {
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The first generation ended before it was ready, or was too slow.
    NeverReady,
    /// See [`PidfileError`].
    Pidfile(PidfileError),
    /// A system call failed without which the loop cannot go on.
    System(io::Error),
}

impl fmt::Display for MasterError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(out, "failed to listen on {address}: {error}"),
            Self::NeverReady => write!(out, "failed to start: the first generation did not become ready"),
            Self::Pidfile(error) => write!(out, "failed to {error}"),
            Self::System(error) => write!(out, "failed to go on: {error}"),
        }
    }
}

impl std::error::Error for MasterError {}

impl From<io::Error> for MasterError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
