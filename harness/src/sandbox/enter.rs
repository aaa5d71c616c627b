//! Tier B's entry: root in a user namespace of its own, once per process.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, chown, setgid, setgroups, setuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use thiserror::Error;

use crate::kernel::namespace::{NamespaceError, enter_user_namespace};
use crate::machine::Tier;

/// Why tier B could not be entered.
#[derive(Debug, Error)]
pub enum EnterError {
    /// A directory could not be given to the unprivileged user.
    #[error("give {path} to uid {NOBODY}")]
    Chown {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Giving up root.
    #[error("{action}")]
    Privilege {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The user namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// The kernel's overflow uid and gid: nobody's, on every distribution.
const NOBODY: u32 = 65534;

/// Prepares the process for a tier. For A and C there is nothing to do. For B it enters a user namespace in which it is
/// root, from where tier A's code is used unchanged; when it is root it first gives `directories` (the runs' own) to
/// uid 65534 and becomes that user for good. Once per process, before its first thread.
///
/// # Errors
/// Where user namespaces are forbidden, or the process has threads (EINVAL).
pub fn enter(tier: Tier, directories: &[PathBuf]) -> Result<(), EnterError> {
    if tier != Tier::B {
        return Ok(());
    }
    if rustix::process::geteuid().is_root() {
        for path in directories {
            give(path)?;
        }
        let failed = |action| move |errno: nix::Error| EnterError::Privilege { action, source: errno.into() };
        setgroups(&[]).map_err(failed("give supplementary groups up (setgroups)"))?;
        setgid(Gid::from_raw(NOBODY)).map_err(failed("change the group id (setgid)"))?;
        setuid(Uid::from_raw(NOBODY)).map_err(failed("change the user id (setuid)"))?;
        // Changing ids clears it, and the id maps then belong to root: they could not be written.
        set_dumpable_behavior(DumpableBehavior::Dumpable)
            .map_err(|errno| EnterError::Privilege { action: "become dumpable again (prctl)", source: errno.into() })?;
    }
    Ok(enter_user_namespace()?)
}

fn give(path: &Path) -> Result<(), EnterError> {
    chown(path, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))
        .map_err(|errno| EnterError::Chown { path: path.to_owned(), source: errno.into() })
}
