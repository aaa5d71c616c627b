//! Socket activation (sd_listen_fds(3)): the listener may come from a supervisor.
//!
//! The supervisor binds, and hands the socket over as descriptor 3: connections wait in its queue while the service is away.
//! LISTEN_PID says for whom that is meant. An environment leaks, and then it names somebody else: that is no error, and means
//! nothing. Whoever it names takes the variables out of the environment, or its own children would have to see through them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};

use crate::defect::Defect;
use crate::inherit;

/// The first descriptor that is handed over: `SD_LISTEN_FDS_START`.
const FIRST_FD: i32 = 3;

/// Why what a supervisor hands over cannot be used.
#[derive(Debug)]
pub enum ActivationError {
    /// LISTEN_FDS is not 1: this service has one address.
    Count(String),
    /// Descriptor 3 is not a listener on the configured address.
    Listener(SocketAddr),
    /// Only with [`Defect::StaleListenPid`].
    Stranger(String),
    /// A system call failed.
    Io(io::Error),
}

impl fmt::Display for ActivationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(out, "use LISTEN_FDS={count}: one socket is wanted"),
            Self::Listener(wanted) => {
                write!(out, "use LISTEN_FDS=1: descriptor {FIRST_FD} does not listen on {wanted}")
            }
            Self::Stranger(pid) => write!(out, "use LISTEN_PID={pid}: that is another process"),
            Self::Io(error) => write!(out, "use the activated socket: {error}"),
        }
    }
}

impl std::error::Error for ActivationError {}

/// The listener that a supervisor bound for this very process; `None` when there is none.
///
/// Call it once, at the start of the process, before the first thread and before any descriptor is opened.
///
/// # Errors
/// [`ActivationError`]: it is meant for this process, and is not what is wanted.
pub fn take(wanted: SocketAddr, defect: Option<Defect>) -> Result<Option<TcpListener>, ActivationError> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (pid, count) = (variable("LISTEN_PID"), variable("LISTEN_FDS"));
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        // SAFETY: called before any thread exists (documented above), so nobody reads the environment at the same time.
        unsafe { std::env::remove_var(name) };
    }
    if pid != std::process::id().to_string() {
        return match defect {
            Some(Defect::StaleListenPid) if !pid.is_empty() => Err(ActivationError::Stranger(pid)),
            _ => Ok(None),
        };
    }
    if count != "1" {
        return Err(ActivationError::Count(count));
    }
    inherit::verify_listener(FIRST_FD, wanted).map_err(|_| ActivationError::Listener(wanted))?;
    // SAFETY: a listening socket that was handed over to this process: nobody else here owns it.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(FIRST_FD) });
    // Whoever bound it need not have made it so, and two generations wait on it at once.
    listener.set_nonblocking(true).map_err(ActivationError::Io)?;
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)
        .map_err(|errno| ActivationError::Io(errno.into()))?;
    Ok(Some(listener))
}
