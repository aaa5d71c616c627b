//! Socket activation (sd_listen_fds(3)): the listener may come from a supervisor.
//!
//! The supervisor binds, and hands the socket over as descriptor 3: connections wait in its queue while the service is away.
//! LISTEN_PID says for whom that is meant. An environment leaks, and then it names somebody else: that is no error, and means
//! nothing. Whoever it names takes the variables out of the environment, or its own children would have to see through them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use crate::defect::Defect;
use crate::inherit;

/// The first descriptor that is handed over: `SD_LISTEN_FDS_START`.
const FIRST_FD: i32 = 3;

/// Why what a supervisor hands over cannot be used.
#[derive(Debug)]
pub enum ActivationError {
    /// LISTEN_FDS is no number; with [`take`], not 1: its service has one address.
    Count(String),
    /// A descriptor that LISTEN_FDS counts is not open.
    Absent(i32),
    /// LISTEN_FDNAMES names more or fewer descriptors than LISTEN_FDS counts.
    Names(Option<String>),
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
            Self::Absent(number) => write!(out, "use the activated sockets: descriptor {number} is not open"),
            Self::Names(names) => {
                write!(out, "use LISTEN_FDNAMES={}: one name each is wanted", names.as_deref().unwrap_or_default())
            }
            Self::Listener(wanted) => {
                write!(out, "use LISTEN_FDS=1: descriptor {FIRST_FD} does not listen on {wanted}")
            }
            Self::Stranger(pid) => write!(out, "use LISTEN_PID={pid}: that is another process"),
            Self::Io(error) => write!(out, "use the activated socket: {error}"),
        }
    }
}

impl std::error::Error for ActivationError {}

/// A descriptor that a supervisor handed over, and what it calls it.
#[derive(Debug)]
pub struct Named {
    /// FileDescriptorName= of the socket unit, or the name that it was stored under ([`crate::notify::Notifier::store`]);
    /// [`UNNAMED`] where LISTEN_FDNAMES is not set.
    pub name: String,
    /// Close-on-exec from now on: it was handed to this process, not to its children.
    pub descriptor: OwnedFd,
}

/// The name of what has none (sd_listen_fds_with_names(3)).
pub const UNNAMED: &str = "unknown";

/// Everything that a supervisor hands over to this very process, in its order: sockets, then what was stored with it.
///
/// Call it once, at the start of the process, before the first thread and before any descriptor is opened.
///
/// # Errors
/// [`ActivationError`]: it is meant for this process, and is not what it is said to be.
pub fn take_all() -> Result<Vec<Named>, ActivationError> {
    let Claim { pid, count, names } = Claim::take();
    if pid != std::process::id().to_string() {
        return Ok(Vec::new());
    }
    let number: u16 = count.parse().map_err(|_| ActivationError::Count(count))?;
    let numbers = (FIRST_FD..).take(usize::from(number));
    let descriptors = numbers.map(adopt).collect::<Result<Vec<_>, _>>()?;
    let names = named(&names, descriptors.len()).ok_or(ActivationError::Names(names))?;
    Ok(names.into_iter().zip(descriptors).map(|(name, descriptor)| Named { name, descriptor }).collect())
}

/// The listener that a supervisor bound for this very process; `None` when there is none.
///
/// Call it once, at the start of the process, before the first thread and before any descriptor is opened.
///
/// # Errors
/// [`ActivationError`]: it is meant for this process, and is not what is wanted.
pub fn take(wanted: SocketAddr, defect: Option<Defect>) -> Result<Option<TcpListener>, ActivationError> {
    let Claim { pid, count, .. } = Claim::take();
    if pid != std::process::id().to_string() {
        return match defect {
            Some(Defect::StaleListenPid) if !pid.is_empty() => Err(ActivationError::Stranger(pid)),
            _ => Ok(None),
        };
    }
    if defect == Some(Defect::FdStore) {
        return Ok(None);
    }
    if count != "1" {
        return Err(ActivationError::Count(count));
    }
    inherit::verify_listener(FIRST_FD, wanted).map_err(|_| ActivationError::Listener(wanted))?;
    let listener = TcpListener::from(adopt(FIRST_FD)?);
    // Whoever bound it need not have made it so, and two generations wait on it at once.
    listener.set_nonblocking(true).map_err(ActivationError::Io)?;
    Ok(Some(listener))
}

/// What the environment says, whoever it is meant for.
struct Claim {
    pid: String,
    count: String,
    names: Option<String>,
}

impl Claim {
    /// Takes the variables out of the environment.
    fn take() -> Self {
        let [pid, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(|name| {
            let value = std::env::var(name).ok();
            // SAFETY: called before any thread exists (documented above), so nobody reads the environment at the same time.
            unsafe { std::env::remove_var(name) };
            value
        });
        Self { pid: pid.unwrap_or_default(), count: count.unwrap_or_default(), names }
    }
}

/// Owns a descriptor that was handed over.
fn adopt(number: i32) -> Result<OwnedFd, ActivationError> {
    // SAFETY: asked about only; where nothing is open the kernel answers EBADF.
    rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).map_err(|_| ActivationError::Absent(number))?;
    // SAFETY: it is open, and was handed over to this process: nobody else here owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)
        .map_err(|errno| ActivationError::Io(errno.into()))?;
    Ok(descriptor)
}

/// As many names as there are descriptors; `None` when there are more or fewer, because any assignment would be a guess.
fn named(names: &Option<String>, count: usize) -> Option<Vec<String>> {
    let Some(names) = names else { return Some(vec![UNNAMED.to_owned(); count]) };
    let names: Vec<String> = names.split(':').map(ToOwned::to_owned).collect();
    (names.len() == count).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_descriptors_one_to_one() {
        let check = |names: Option<&str>, count: usize, want: Option<&[&str]>| {
            let found = named(&names.map(ToOwned::to_owned), count);
            assert_eq!(
                found.as_deref().map(<[String]>::to_vec),
                want.map(|want| want.iter().map(ToString::to_string).collect())
            );
        };
        check(None, 2, Some(&[UNNAMED, UNNAMED]));
        check(Some("web:web"), 2, Some(&["web", "web"]));
        check(Some("web"), 2, None);
        check(Some("web::kept"), 3, Some(&["web", "", "kept"]));
    }

    #[test]
    fn what_is_not_open_is_not_adopted() {
        assert!(matches!(adopt(1_000_000), Err(ActivationError::Absent(1_000_000))));
    }
}
