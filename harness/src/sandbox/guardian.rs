//! Tier C's cleaner: when the harness or the init ends, it kills until nothing of the target is left.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgid, getpid, kill_process, kill_process_group};

use super::init::{self, BARE, drain, reap_one};
use super::role::{EXIT_BUG, INIT, handed};
use crate::kernel::clone::{Namespaces, Role, execute_self};
use crate::process::{Procfs, Stat};
use crate::wait;

/// Plays the role: descriptors control and exits socket (for the init) and the read end of the liveness pipe, whose
/// only write end is the harness's. Exits 0 once it has no child left, not even a zombie.
pub(super) fn run() {
    let (control, exits, liveness) = (handed(0), handed(1), handed(2));
    let Ok(signals) = init::stand_alone() else { std::process::exit(EXIT_BUG) };
    if rustix::process::set_child_subreaper(Some(getpid())).is_err() {
        std::process::exit(EXIT_BUG);
    }
    let descriptors = [control.as_fd(), exits.as_fd()];
    let role = Role { name: INIT, argument: Some(BARE), namespaces: Namespaces::NONE, descriptors: &descriptors };
    let Ok(init) = execute_self(&role) else { std::process::exit(EXIT_BUG) };
    drop((control, exits));
    loop {
        let mut ready = [PollFd::new(&liveness, PollFlags::IN), PollFd::new(&init.pidfd, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            // Cannot be for two open descriptors; were it so, cleaning up now is the safe side.
            Err(_) => break,
        }
    }
    // The harness's end shows to the init too: it takes away what its world owns, and ends by itself.
    let _ = wait::readable_within(init.pidfd.as_fd(), LAST_WORK);
    clean_up(&signals);
}

/// How long an init may take to end by itself, which takes milliseconds. One that hangs is killed like everybody else.
const LAST_WORK: Duration = Duration::from_secs(1);

/// How long a pass waits for a child's end before it looks again: a process that could not be killed at once (it was
/// just being forked, or sleeps uninterruptibly) is met by the next pass.
const PASS: Duration = Duration::from_millis(5);

/// Kills its children, who leave it theirs, until it has none. Only direct children are ever signalled: nobody else can
/// reap those, so neither their pids nor their group ids can have become a stranger's.
fn clean_up(signals: &SignalFd) {
    // Ahead of those that fork on, where that is allowed.
    let _ = rustix::process::setpriority_process(None, -20);
    loop {
        drain(signals);
        loop {
            match reap_one() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // ECHILD: nobody is left.
                Err(_) => return,
            }
        }
        children().into_iter().for_each(kill);
        let _ = wait::readable_within(signals.as_fd(), PASS);
    }
}

fn kill(child: Pid) {
    // The whole group in one call, which a fork cannot slip through: the kernel adds new processes under the lock that
    // the walk over the group holds. Never our own, which an init that has not made its session yet shares.
    match getpgid(Some(child)) {
        Ok(group) if Ok(group) != getpgid(None) => drop(kill_process_group(group, Signal::KILL)),
        _ => {}
    }
    // It can only fail for a zombie's sake or a privilege that a setuid target took: the next pass looks again.
    let _ = kill_process(child, Signal::KILL);
}

/// The direct children: by the kernel's own list where it has one (CONFIG_PROC_CHILDREN), else by everyone's parent.
fn children() -> Vec<Pid> {
    let own = getpid();
    if let Ok(list) = std::fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        return list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
    }
    let Ok(root) = std::fs::File::open("/proc") else { return Vec::new() };
    let own = crate::id::Pid(own.as_raw_nonzero().get());
    let descendants = Procfs::shared(root.into(), own).scan().unwrap_or_default();
    let direct = |stat: &Stat| (stat.ppid == own).then_some(Pid::from_raw(stat.image.pid.0)).flatten();
    descendants.iter().filter_map(direct).collect()
}
