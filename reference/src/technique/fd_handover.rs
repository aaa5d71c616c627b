//! `fd-handover`: a new process asks the old one for its listening sockets, by SCM_RIGHTS over a UNIX socket.
//!
//! When to use it: for processes that are not parent and child. An operator or a supervisor starts the new one beside the old one;
//! two containers side by side share a directory, and nothing else. It is how haproxy (`expose-fd listeners`), envoy's hot restart
//! and Facebook's proxies do it.
//!
//! What it guarantees: the sockets are the same ones, so that no connect is refused, and nothing that waits in a queue, or is half
//! done, is lost. There is no master whose code would never change: the whole program is new. The old one goes only when the new one
//! has said that it serves; one that dies or is too slow before that changes nothing. Where the old one is killed meanwhile, the new
//! one, which has the sockets, takes over. Only processes of the same user are answered.
//!
//! What it cannot: keep its pid, so that whoever follows it must follow the pidfile (a supervisor that follows the pid takes the end
//! of the old one for the service's). Keep two starts apart from two upgrades: a second start *is* an upgrade. Undo the pidfile of a
//! new one that is killed in the instant between its pidfile and its last word; the old one serves on then, and is named nowhere.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::defect::{Defect, Forgotten};
use crate::drain::{Drain, Patience};
use crate::fdpass::{Door, Predecessor};
use crate::further::{self, Address, Further};
use crate::generation::Generation;
use crate::inherit;
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::pidfile::Pidfile;
use crate::process;
use crate::service::{Protocol, Service};
use crate::signal::Signals;
use crate::version;

/// In the defects of further listeners: nobody listens there for this long, at least.
const AWAY: Duration = Duration::from_millis(50);

/// The command line, the same for each instance.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on; the instance that is started first binds it
    #[arg(long, default_value = "127.0.0.1:10086")]
    pub address: SocketAddr,
    /// What is spoken on its connections
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// File with further addresses to listen on, one a line: `127.0.0.1:80`, `127.0.0.1:81-89`, `[::1]:80`,
    /// `udp:127.0.0.1:80` (datagrams), `unix:PATH`, `unix:@NAME`. Each instance reads it anew:
    /// it adds what is new there, and drops what is not there any more
    #[arg(long, value_name = "PATH")]
    pub also: Option<PathBuf>,
    /// UNIX socket at which an instance hands its listeners to the next one
    #[arg(long, value_name = "PATH", default_value = "fd-handover.sock")]
    pub socket: PathBuf,
    /// File to hold the pid of the instance that serves; the next one renames its own over it
    #[arg(long, value_name = "PATH")]
    pub pidfile: Option<PathBuf>,
    /// When a draining instance cuts what is left, counted from the beginning of the drain
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub drain_timeout_ms: u64,
    /// When a draining instance closes kept connections without a request, counted from the beginning of the drain
    #[arg(long, value_name = "N", default_value_t = 1500)]
    pub idle_grace_ms: u64,
    /// How long a new instance may take to become ready before it is given up
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub ready_timeout_ms: u64,
    /// Switch on a deliberate bug, to prove that a check catches it
    #[arg(long, value_name = "NAME")]
    pub defect: Option<Defect>,
}

/// Runs an instance: the first one, or the successor of the one that serves.
///
/// # Errors
/// The reason, complete, for standard error; an instance that served before serves on then.
pub fn run(options: &Options) -> Result<(), String> {
    process::seal_descriptors();
    let log = Log::instance();
    let failed = |what: &'static str| move |error: std::io::Error| format!("instance failed to {what}: {error}");
    // Now, while the working directory exists.
    let socket = std::path::absolute(&options.socket).map_err(failed("find its socket"))?;
    let pidfile = options.pidfile.as_ref().map(std::path::absolute).transpose().map_err(failed("find its pidfile"))?;
    let signals = Signals::take().map_err(failed("take its signals"))?;
    let version = version::own().map_err(failed("read its version"))?;
    let patience = Patience {
        idle_grace: Duration::from_millis(options.idle_grace_ms),
        timeout: Duration::from_millis(options.drain_timeout_ms),
    };
    let drain = Drain::new(patience).map_err(failed("prepare its drain"))?;

    let predecessor = Predecessor::find(&socket).map_err(failed("ask the instance that serves"))?;
    let (listener, handed) = match &predecessor {
        Some(predecessor) => taken_over(predecessor, options.address)?,
        None => (listener::bind(options.address, Sharing::Exclusive).map_err(failed("listen"))?, Vec::new()),
    };
    let mut further = take_further(options, handed).map_err(|error| format!("instance failed to {error}"))?;
    // Everything that can fail has been done, or is undone when this returns.
    let pidfile = match (&predecessor, pidfile) {
        (Some(predecessor), path) => {
            predecessor.ready().map_err(failed("take over: the instance that serves did not wait"))?;
            path.map(|path| Pidfile::succeed(&path)).transpose()
        }
        (None, path) => path.map(|path| Pidfile::create(&path)).transpose(),
    };
    let pidfile = pidfile.map_err(|error| format!("instance failed to {error}"))?;
    let door = Door::open(&socket).map_err(failed("open its socket"))?;
    log.line(format_args!("serves version {version} on {}", options.address));
    if let Some(predecessor) = predecessor {
        // It may have been stopped meanwhile: then it goes anyway.
        let _ = predecessor.taken();
        strike(options, &mut further)?;
    }
    // Not before: until then the predecessor may serve on.
    further.settle();
    let files = further.files().to_vec();
    let queues = Arc::new(Queues { first: Arc::new(listener), further: Arc::new(further) });
    let patience = Duration::from_millis(options.ready_timeout_ms);
    let successor = hand_over_when_asked(&door, &queues, patience, &log).map_err(failed("wait at its socket"))?;
    let service = Service::new(version, drain).speaking(options.protocol);
    let mut generation = Generation::new(Arc::clone(&queues.first), service, signals, log.clone());
    generation.further = Some(Arc::clone(&queues.further));
    generation.successor = Some(successor);
    drop(queues);
    generation.run(&mut || {}).map_err(failed("go on"))?;
    // A successor's stay: who has the door has the rest.
    if door.close().map_err(failed("remove its socket"))? {
        further::remove(&files);
    }
    pidfile.map_or(Ok(()), Pidfile::remove).map_err(failed("remove its pidfile"))
}

/// The first listener, if it is what this instance is to listen on (another address needs a start of its own), and the others.
fn taken_over(predecessor: &Predecessor, wanted: SocketAddr) -> Result<(TcpListener, Vec<OwnedFd>), String> {
    let refused = |error: &dyn std::fmt::Display| format!("instance failed to take over: {error}");
    let mut listeners = predecessor.listeners().map_err(|error| refused(&error))?.into_iter();
    let listener = listeners.next().ok_or_else(|| refused(&"nothing was handed over"))?;
    let verified = inherit::verify_listener(listener.as_raw_fd(), wanted);
    verified.map_err(|_| refused(&format_args!("what was handed over does not listen on {wanted}")))?;
    Ok((TcpListener::from(listener), listeners.collect()))
}

/// The further listeners, from what was handed over and of its own.
fn take_further(options: &Options, handed: Vec<OwnedFd>) -> Result<Further, String> {
    let mut wanted = Address::listed(options.also.as_deref())?;
    match options.defect {
        // Bound when the predecessor has gone.
        Some(Defect::EveryListener(Forgotten::Further)) if !handed.is_empty() => wanted.clear(),
        Some(Defect::EveryListener(Forgotten::Namesakes)) if !handed.is_empty() => {
            let mut names = HashSet::new();
            wanted.retain(|it| names.insert(it.clone()));
        }
        Some(Defect::ListenerSetChanges) => {
            wanted.extend(handed.iter().filter_map(Address::of).filter(|it| !wanted.contains(it)).collect::<Vec<_>>());
        }
        _ => {}
    }
    Further::take(&wanted, handed)
}

/// What the defects of further listeners do when the predecessor has been told to go; a correct instance has them all by then.
fn strike(options: &Options, further: &mut Further) -> Result<(), String> {
    match options.defect {
        Some(Defect::EveryListener(Forgotten::Further)) => {
            let wanted = Address::listed(options.also.as_deref())?;
            // Until the predecessor has closed the last of them.
            while further.sockets().is_empty() {
                std::thread::sleep(AWAY);
                *further = Further::take(&wanted, Vec::new()).unwrap_or_default();
            }
        }
        Some(Defect::UnixPathKept) => {
            further::remove(further.files());
            std::thread::sleep(AWAY);
            further.bind_files_anew().map_err(|error| format!("instance failed to {error}"))?;
        }
        _ => {}
    }
    Ok(())
}

/// What is handed over.
struct Queues {
    first: Arc<TcpListener>,
    further: Arc<Further>,
}

/// Waits at the door on a thread; the end of file on what is returned says that a successor serves. The listeners are not kept open
/// for that: an instance that is stopped has nothing to hand over, and its clients are to be refused at once.
fn hand_over_when_asked(door: &Door, queues: &Queues, patience: Duration, log: &Log) -> std::io::Result<OwnedFd> {
    let (serves, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (door, log) = (door.try_clone()?, log.clone());
    let (first, further) = (Arc::downgrade(&queues.first), Arc::downgrade(&queues.further));
    std::thread::Builder::new().name("door".to_owned()).spawn(move || {
        loop {
            let successor = match door.wait() {
                Ok(successor) => successor,
                Err(error) => {
                    log.line(format_args!("cannot wait for a successor any more: {error}"));
                    // It serves on; the end of file would say that another one does.
                    return std::mem::forget(told);
                }
            };
            // Whoever comes too late finds the end of file, and nobody to serve on.
            let (Some(first), Some(further)) = (first.upgrade(), further.upgrade()) else { continue };
            let sockets: Vec<_> =
                [first.as_fd()].into_iter().chain(further.sockets().iter().map(AsFd::as_fd)).collect();
            let handed = successor.hand_over(&sockets, patience);
            // Before the word: only when nobody has them open any more does nothing reach this instance.
            drop((first, further));
            match handed {
                Ok(()) => return drop(told),
                Err(error) => log.line(format_args!("upgrade failed, serves on: {error}")),
            }
        }
    })?;
    Ok(serves)
}
