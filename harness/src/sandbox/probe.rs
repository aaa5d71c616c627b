//! Which tier this machine permits, by attempting it in a process of its own.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use super::channel::Channel;
use super::clients::Clients;
use super::enter::enter;
use super::message::SpawnRequest;
use super::role::{PROBE, SYSTEMD, handed};
use super::world::Sandbox;
use crate::event::{PathFault, Shape};
use crate::kernel::cgroup::tasks;
use crate::kernel::clock::Clock;
use crate::kernel::clone::{Namespaces, Role, execute_self};
use crate::kernel::seccomp::{Hold, ListenHook, hold_calls};
use crate::machine::Tier;
use crate::target::Signal;
use crate::wait;

/// What [`probe`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierProbe {
    /// The best tier that works, at most the requested one.
    pub tier: Tier,
    /// Why none better: each one's failure, or that it was requested. Empty for tier A.
    pub reason: String,
}

/// How long an attempt may take; it takes milliseconds.
const ATTEMPT: Duration = Duration::from_secs(60);

/// The question about the hook on listen(2), beside those about the tiers.
const LISTEN: &CStr = c"listen";

/// The questions whether systemd has what it needs, in each tier that has namespaces.
const SYSTEMD_IN_A: &CStr = c"systemd in A";
const SYSTEMD_IN_B: &CStr = c"systemd in B";

/// The questions whether the number of a process's tasks can be bounded, in each tier.
const TASKS_IN_A: &CStr = c"tasks in A";
const TASKS_IN_B: &CStr = c"tasks in B";
const TASKS_IN_C: &CStr = c"tasks in C";

/// The questions whether clients can have a network namespace of their own, in each tier that has some.
const CLIENTS_IN_A: &CStr = c"clients in A";
const CLIENTS_IN_B: &CStr = c"clients in B";

/// Decides the tier: the requested one or, where it does not work, the next lower. Each attempt is a process of its own
/// that makes a whole sandbox and takes it down; the caller is not disturbed. To be asked before [`enter`].
#[must_use]
pub fn probe(requested: Option<Tier>) -> TierProbe {
    let best = requested.unwrap_or(Tier::A);
    let mut reasons: Vec<String> = match requested {
        Some(tier) if tier != Tier::A => vec![format!("tier {tier} was requested")],
        _ => Vec::new(),
    };
    for tier in [Tier::A, Tier::B].into_iter().filter(|tier| *tier >= best) {
        match attempt(word(tier)) {
            Ok(()) => return TierProbe { tier, reason: reasons.join("; ") },
            Err(why) => reasons.push(format!("tier {tier}: {why}")),
        }
    }
    // Tier C needs no privilege; whoever cannot even make a process will hear it from the run.
    TierProbe { tier: Tier::C, reason: reasons.join("; ") }
}

/// The hook on listen(2) works here: it holds a call, and lets it go on.
#[must_use]
pub fn probe_listen_hook() -> bool {
    attempt(LISTEN).is_ok()
}

/// Why a systemd cannot be run in a sandbox of this tier here; `None` where it can. Everything is set up for it (control groups,
/// mounts, a terminal) but it is not executed: whether it is installed is another question.
#[must_use]
pub fn probe_systemd(tier: Tier) -> Option<String> {
    match tier {
        Tier::A => attempt(SYSTEMD_IN_A).err(),
        Tier::B => attempt(SYSTEMD_IN_B).err(),
        Tier::C => Some("it needs namespaces of its own".to_owned()),
    }
}

/// Why the number of a process's tasks cannot be bounded in a sandbox of this tier here; `None` where it can.
#[must_use]
pub fn probe_task_groups(tier: Tier) -> Option<String> {
    let question = match tier {
        Tier::A => TASKS_IN_A,
        Tier::B => TASKS_IN_B,
        Tier::C => TASKS_IN_C,
    };
    attempt(question).err()
}

/// Why clients cannot have a network namespace of their own here, joined to that of a sandbox of this tier, or why one of the faults
/// of the path between the two cannot be had; `None` where all can.
#[must_use]
pub fn probe_clients(tier: Tier) -> Option<String> {
    match tier {
        Tier::A => attempt(CLIENTS_IN_A).err(),
        Tier::B => attempt(CLIENTS_IN_B).err(),
        Tier::C => Some("the target's would be the host's own".to_owned()),
    }
}

fn word(tier: Tier) -> &'static CStr {
    match tier {
        Tier::A => c"A",
        Tier::B => c"B",
        Tier::C => c"C",
    }
}

/// Asks a process of its own.
fn attempt(question: &CStr) -> Result<(), String> {
    let (mut near, far) = Channel::pair().map_err(|error| sentence(&error))?;
    let descriptors = [far.as_fd()];
    let role = Role { name: PROBE, argument: Some(question), namespaces: Namespaces::NONE, descriptors: &descriptors };
    let offspring = execute_self(&role).map_err(|error| sentence(&error))?;
    drop(far);
    let answer = if wait::readable_within(near.as_fd(), ATTEMPT) {
        near.receive::<Result<(), String>>().map_err(|error| sentence(&error))
    } else {
        // It hangs; with its end, its sandbox ends.
        offspring.pidfd.send_signal(Signal(libc::SIGKILL)).map_err(|error| sentence(&error))?;
        Ok(None)
    };
    let status = offspring.pidfd.reap().map_err(|error| sentence(&error))?;
    match answer? {
        Some((answer, _)) => answer,
        None => Err(format!("the attempt ended with {status:?} and no answer")),
    }
}

/// Plays the role: descriptor the socket for the answer, argv[1] the question.
pub(super) fn run(question: Option<OsString>) {
    let near = Channel::from(handed(0));
    let question = question.unwrap_or_default();
    let answer = match question.to_str() {
        Some("A") => try_tier(Tier::A),
        Some("B") => try_tier(Tier::B),
        Some("C") => try_tier(Tier::C),
        Some("listen") => try_listen_hook(),
        Some("systemd in A") => try_systemd(Tier::A),
        Some("systemd in B") => try_systemd(Tier::B),
        Some("tasks in A") => try_task_group(Tier::A),
        Some("tasks in B") => try_task_group(Tier::B),
        Some("tasks in C") => try_task_group(Tier::C),
        Some("clients in A") => try_clients(Tier::A),
        Some("clients in B") => try_clients(Tier::B),
        _ => Err("an unknown question".to_owned()),
    };
    // Nobody to tell is nobody to care.
    let _ = near.send(&answer, &[]);
}

fn try_tier(tier: Tier) -> Result<(), String> {
    enter(tier, &[]).map_err(|error| sentence(&error))?;
    let sandbox = Sandbox::create(tier, Clock::start()).map_err(|error| sentence(&error))?;
    sandbox.teardown().map_err(|error| sentence(&error))
}

fn try_systemd(tier: Tier) -> Result<(), String> {
    enter(tier, &[]).map_err(|error| sentence(&error))?;
    let sandbox = Sandbox::create(tier, Clock::start()).map_err(|error| sentence(&error))?;
    let group = sandbox.own_group().map_err(|error| sentence(&error))?;
    let failed = |error: io::Error| sentence(&error);
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    let (mut said, complaint) = io::pipe().map_err(failed)?;
    let words = [SYSTEMD.to_string_lossy().into_owned(), group.display().to_string()];
    let request = SpawnRequest { program: "/proc/self/exe".to_owned(), argv: words.to_vec(), ..Default::default() };
    let stdio = [null.try_clone().map_err(failed)?.into(), null.into(), complaint.into()];
    let rehearsal = sandbox.spawn(&request, stdio).map_err(|error| sentence(&error))?;
    let mut text = String::new();
    said.read_to_string(&mut text).map_err(failed)?;
    drop(rehearsal);
    sandbox.teardown().map_err(|error| sentence(&error))?;
    // It says nothing unless something fails.
    if text.is_empty() { Ok(()) } else { Err(text.trim_end().to_owned()) }
}

fn try_task_group(tier: Tier) -> Result<(), String> {
    enter(tier, &[]).map_err(|error| sentence(&error))?;
    let sandbox = Sandbox::create(tier, Clock::start()).map_err(|error| sentence(&error))?;
    let group = sandbox.own_task_group().map_err(|error| sentence(&error))?;
    let failed = |error: io::Error| sentence(&error);
    tasks::bound(&group, Some(1)).map_err(failed)?;
    // Into it, as the target's main process: who may make a group may still not be allowed to move a process there.
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    let request = SpawnRequest {
        program: "/bin/sleep".to_owned(),
        argv: ["sleep", "1000"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let stdio = [null.try_clone().map_err(failed)?.into(), null.try_clone().map_err(failed)?.into(), null.into()];
    let moved = sandbox.spawn(&request, stdio).map_err(|error| sentence(&error))?;
    let pid = moved.pidfd.host_pid().map_err(|error| sentence(&error))?;
    tasks::admit(&group, pid).map_err(failed)?;
    sandbox.teardown().map_err(|error| sentence(&error))
}

fn try_clients(tier: Tier) -> Result<(), String> {
    enter(tier, &[]).map_err(|error| sentence(&error))?;
    let sandbox = Sandbox::create(tier, Clock::start()).map_err(|error| sentence(&error))?;
    let target = sandbox.netns().ok_or("it has no network namespace")?;
    let clients = Clients::join(target).map_err(|error| sentence(&error))?;
    let shape = Shape { rate_kbit: 1000, burst_bytes: 10_000, latency_ms: 50 };
    for fault in [PathFault::Drop, PathFault::Reject, PathFault::Shape(shape)] {
        let mut disturbance = clients.disturb(fault, 1).map_err(|error| sentence(&error))?;
        disturbance.end().and_then(|_met| disturbance.remove()).map_err(|error| sentence(&error))?;
    }
    sandbox.teardown().map_err(|error| sentence(&error))
}

fn try_listen_hook() -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    // The filter stays with the thread that installs it: this one can answer.
    let target = std::thread::spawn(move || {
        let hook = hold_calls(Hold::Listen);
        let installed = hook.is_ok();
        // The receiver lives until this thread is joined.
        let _ = sender.send(hook);
        if installed { TcpListener::bind("127.0.0.1:0").map(drop) } else { Ok(()) }
    });
    let failed = |error: io::Error| sentence(&error);
    let hook = receiver.recv().map_err(|error| sentence(&error))?.map(ListenHook::from).map_err(failed)?;
    if !wait::readable_within(hook.as_fd(), ATTEMPT / 2) {
        return Err("listen(2) was not held".to_owned());
    }
    let held = hook.receive().map_err(|error| sentence(&error))?.ok_or("listen(2) was not held")?;
    hook.answer_continue(held.id).map_err(|error| sentence(&error))?;
    match target.join() {
        Ok(listened) => listened.map_err(failed),
        Err(_) => Err("the attempt panicked".to_owned()),
    }
}

/// An error with its sources.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
