//! Settings of the target's network namespace (sysctl(8)).

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::{fs, thread};

use crate::kernel::namespace::enter_netns;
use crate::run::RunError;

/// Writes them on a thread that has entered the namespace: `/proc/sys/net` is the one of whoever looks.
pub(super) fn write(settings: &BTreeMap<String, String>, netns: Option<BorrowedFd<'_>>) -> Result<(), RunError> {
    // Without a namespace of its own there would be no plan.
    let Some(netns) = netns.filter(|_| !settings.is_empty()) else { return Ok(()) };
    let failed =
        |what: &str, error: &dyn std::fmt::Display| RunError::Environment(format!("failed to {what}: {error}"));
    let written = thread::scope(|scope| {
        let write = || -> Result<(), RunError> {
            enter_netns(netns).map_err(|error| RunError::Environment(format!("failed to {error}")))?;
            settings.iter().try_for_each(|(name, value)| {
                let path = Path::new("/proc/sys").join(name.replace('.', "/"));
                fs::write(&path, value).map_err(|error| failed(&format!("set {name}"), &error))
            })
        };
        scope.spawn(write).join()
    });
    written.unwrap_or_else(|_| Err(RunError::Environment("the thread that writes settings panicked".to_owned())))
}
