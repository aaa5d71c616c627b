//! The roles of this executable, known by `argv[0]`.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use crate::kernel::clone::{FIRST_DESCRIPTOR, inherited};

/// pid 1 of the target's world.
pub(super) const INIT: &CStr = c"unbroken-init";
/// Tier C's cleaner.
pub(super) const GUARDIAN: &CStr = c"unbroken-guardian";
/// The listener that shows how the machine itself fares.
pub(super) const CANARY: &CStr = c"unbroken-canary";
/// Burns a processor.
pub(super) const HOG: &CStr = c"unbroken-hog";
/// Lives beside a target.
pub(super) const BYSTANDER: &CStr = c"unbroken-bystander";
/// Leaves a child to pid 1 of another pid namespace.
pub(super) const ORPHAN: &CStr = c"unbroken-orphan";
/// Makes namespaces for systemd and becomes it.
pub const SYSTEMD: &CStr = c"unbroken-systemd";
/// Tries a tier.
pub(super) const PROBE: &CStr = c"unbroken-probe";

/// Exit status of a role that could not begin: a bug of ours or a stranger's call.
pub(super) const EXIT_BUG: i32 = 70;

/// When this process was started in one of the harness's roles (by `argv[0]`, never by an environment variable: that
/// would leak to the target's children), plays it and exits. Otherwise returns at once. To be called first in every
/// `main` that uses sandboxes, before any thread.
pub fn run_if_asked() {
    let mut arguments = std::env::args_os();
    let Some(name) = arguments.next() else { return };
    let is = |role: &CStr| name == OsStr::from_bytes(role.to_bytes());
    for (role, play) in [
        (INIT, super::init::run as fn()),
        (GUARDIAN, super::guardian::run),
        (CANARY, super::server::run),
        (HOG, super::hog::run),
        (BYSTANDER, super::bystander::run),
        (ORPHAN, super::orphan::run),
        (SYSTEMD, super::systemd::run),
    ] {
        if is(role) {
            begin(role);
            play();
            std::process::exit(0);
        }
    }
    if is(PROBE) {
        begin(PROBE);
        super::probe::run(arguments.next());
        std::process::exit(0);
    }
}

fn begin(role: &CStr) {
    // comm is "exe" after an exec of /proc/self/exe. A name too long for it (15 bytes) is cut by the kernel.
    let _ = rustix::thread::set_name(role);
}

/// The descriptor that was handed over at this position, from 0. Each is taken once, at the role's begin. Without it this
/// process was not started by `execute_self`, and ends.
pub(super) fn handed(position: i32) -> OwnedFd {
    // SAFETY: nothing in a process that has just begun owns a role's descriptors.
    let descriptor = unsafe { inherited(FIRST_DESCRIPTOR + position) };
    descriptor.unwrap_or_else(|| std::process::exit(EXIT_BUG))
}
