//! `takeover`: the process that serves starts its own successor, hands it the listener, and goes.
//!
//! The technique of tableflip, ecdysis and shellflip.
//!
//! - **When to use it:** no master is to outlive every version and never be upgraded itself, and whoever supervises the service can
//!   follow a main process that changes: systemd, told by `MAINPID=` of sd_notify(3), or whoever reads the pidfile.
//! - **What it guarantees:** one listening socket throughout; nobody stops accepting before a successor is ready; one that fails in
//!   any way is given up, and changes nothing; the pidfile always names a live main process.
//! - **What it cannot:** stay the child of whoever started it, which is what runit, s6 and supervisord wait for.
//!
//! What passes between the two processes is in [`crate::handover`].

mod steward;

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::activation;
use crate::drain::{Drain, Patience};
use crate::further::{Address, Further};
use crate::generation::Generation;
use crate::handover::{Heard, Order, Predecessor};
use crate::inherit;
use crate::initialisation::{Hangups, Initialisation, Outcome};
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::notify::{self, Notifier};
use crate::pidfile::{Pidfile, PidfileError};
use crate::poll;
use crate::process::{self, Program};
use crate::service::{Protocol, Service};
use crate::signal::{Request, Signals};
use crate::technique::securing::Securing;
use crate::technique::takeover::steward::Steward;
use crate::technique::watching::Watching;
use crate::version;
use crate::watch::Watch;
use crate::watchdog::Watchdog;

/// The end of `--help`.
pub const HELP: &str = "\
WHEN TO USE IT
  One machine, one program that owns its listening sockets, and a supervisor that follows a main
  process which changes: systemd with Type=notify, or an operator with a pidfile. There is no
  master: every line of the program is upgraded.

WHAT IT GUARANTEES
  The listening socket exists without a gap: no connect is refused, nothing in the queue is lost.
  The old process stops accepting only when the new one has said that it is ready; one that
  exits, crashes, hangs or cannot be executed is given up and waited for, and the old one serves
  on. If the old one is killed meanwhile, the new one takes over. The pidfile always names a live
  main process: it is renamed over when the new one is ready and before it serves, and the
  supervisor is told (MAINPID=) while the old one lives. One upgrade at a time: it is over when
  the old process has gone; whatever is asked for until then is one more upgrade.

WHAT IT CANNOT DO
  Stay the child of whoever started it: after an upgrade the main process is an orphan.
  Supervisors that wait for their own child (runit, s6, supervisord) take that for its end.
  Keep connections or state in memory beyond the drain deadline. Change the address; those of
  --also may be others in each process.

SIGNALS (to the main process)
  HUP        upgrade: start the file that is installed at its path now
  TERM, INT  stop accepting, give up an upgrade that is under way, drain, end with status 0
  A process that has handed over passes a HUP on to its successor, as long as it drains.

FILES
  the executable  watched (--no-watch: not); installed by rename, it is upgraded to. Its version
                  is a last line \"unbroken-version=N\" appended to it, sent as X-Version
  --pidfile       the main process's pid, 0644, locked, replaced by rename, removed by its owner
                  only

ENVIRONMENT
  LISTEN_PID, LISTEN_FDS=1
                  a listener on the address as descriptor 3 (sd_listen_fds(3))
  NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID
                  sd_notify(3), sd_watchdog_enabled(3); passed on to a successor only
  is_slave=true   marks a successor (listener as descriptor 3, readiness pipe as 4, orders as 5,
                  the lock of the pidfile as 6). A stray mark is refused with status 1

EXAMPLES
  unbroken-reference takeover --pidfile run.pid
  kill -HUP $(cat run.pid)                        upgrade
  cp new x && mv x unbroken-reference             upgrade too";

/// The command line, the same for each process.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one and prints it ("main-PID listening on ADDRESS")
    #[arg(long, default_value = "127.0.0.1:10086")]
    pub address: SocketAddr,
    /// What is spoken on its connections
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// File with further addresses to listen on, one a line: `127.0.0.1:80`, `127.0.0.1:81-89`, `[::1]:80`,
    /// `udp:127.0.0.1:80` (datagrams), `unix:PATH`, `unix:@NAME`. Each process reads it anew:
    /// it adds what is new there, and drops what is not there any more
    #[arg(long, value_name = "PATH")]
    pub also: Option<PathBuf>,
    /// Address of --also at which connections speak HTTP/2, with prior knowledge
    #[arg(long, value_name = "ADDRESS")]
    pub h2_address: Option<SocketAddr>,
    /// Where it speaks TLS
    #[command(flatten)]
    pub securing: Securing,
    /// File to hold the main process's pid, replaced atomically when another one takes over, removed at the end
    #[arg(long, value_name = "PATH")]
    pub pidfile: Option<PathBuf>,
    /// What it watches
    #[command(flatten)]
    pub watching: Watching,
    /// When a process that has handed over cuts what is left, counted from then
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub drain_timeout_ms: u64,
    /// When it closes kept connections without a request, counted from then
    #[arg(long, value_name = "N", default_value_t = 1500)]
    pub idle_grace_ms: u64,
    /// How long a successor may take to become ready before it is given up
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub ready_timeout_ms: u64,
    /// How long it pretends to initialise before it is ready; it says "initialised" then
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub slow_init_ms: u64,
    /// Open connections at which it stops accepting; the others wait in the queue [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub connections_max: Option<u64>,
}

impl Options {
    fn patience(&self) -> Patience {
        let [idle_grace, timeout] = [self.idle_grace_ms, self.drain_timeout_ms].map(Duration::from_millis);
        Patience { idle_grace, timeout }
    }
}

/// Completes a reason for standard error.
fn failed<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("main-{} failed to {what}: {error}", std::process::id())
}

/// Runs as the successor of another process if this one carries the mark, else as the first.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn run(options: &Options) -> Result<(), String> {
    let log = Log::main();
    // Before any other descriptor is opened: what is handed over lies at agreed numbers.
    let mut estate = Estate::take(options)?;
    process::seal_descriptors();
    // What copies the environment must not copy these.
    let (notifier, watchdog) = (Notifier::take().map_err(failed("find its supervisor"))?, Watchdog::take());
    let wanted = Address::listed(options.also.as_deref()).map_err(failed("start"))?;
    let mut further = Further::take(&wanted, std::mem::take(&mut estate.further)).map_err(failed("start"))?;
    let program = succeeding(&notifier, watchdog.as_ref(), &further).map_err(failed("find its own path"))?;
    let mut watch = options.watching.open(&program, options.watching.settled()).map_err(failed("watch"))?;
    let signals = Signals::take().map_err(failed("take its signals"))?;
    let address = estate.listener.local_addr().map_err(failed("find its address"))?;
    log.line(format_args!("listening on {address}"));
    let takes = Duration::from_millis(options.slow_init_ms);
    let initialisation = Initialisation { takes, waiting: None, signals: &signals, log: &log };
    let Outcome::Complete(hangups) = initialisation.complete().map_err(failed("initialise"))? else {
        log.line("told to stop before it served");
        return Ok(());
    };
    let version = version::own().map_err(failed("find its version"))?;
    let tls = options.securing.open(version, None).map_err(failed("start"))?;
    let mut pending = hangups == Hangups::Some;
    if let Some(predecessor) = &mut estate.predecessor {
        // What changed before now the predecessor has seen: it has watched since before this program was started.
        watch.as_mut().map_or(Ok(()), Watch::forget).map_err(failed("watch"))?;
        // Everything that can fail has been done.
        predecessor.ready();
        match await_order(predecessor, &signals, watch.as_mut()).map_err(failed("hear its predecessor"))? {
            None => {
                log.line("told to stop before it served");
                return Ok(());
            }
            Some(asked) => pending |= asked,
        }
    }
    let pidfile = estate.pidfile(options).map_err(failed("take over"))?;
    let drain = Drain::new(options.patience()).map_err(failed("serve"))?;
    // Not before: until it said *go* the predecessor may have served on, and what cannot serve must leave nothing behind.
    further.settle();
    let (files, further) = (further.files().to_vec(), Arc::new(further));
    let mut steward = Steward {
        log: log.clone(),
        program,
        listener: Some(estate.listener.try_clone().map_err(failed("keep its listener"))?),
        further: Some(Arc::clone(&further)),
        files,
        watch,
        notifier,
        watchdog,
        pidfile,
        predecessor: estate.predecessor,
        successor: None,
        pending,
        version,
        ready_timeout: Duration::from_millis(options.ready_timeout_ms),
    };
    log.line(format_args!("serves version {version}"));
    steward.notifier.ready_as(&steward.serving());
    let service = Service::new(version, drain).speaking(options.protocol).secured(tls).with_h2(options.h2_address);
    let mut generation = Generation::new(estate.listener, service, signals, log);
    generation.further = Some(further);
    generation.connections_max = options.connections_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
    generation.run(&mut steward).map_err(failed("go on"))?;
    steward.end().map_err(failed("end"))
}

/// This program as it is to be started again, with what a successor needs to speak in this process's place.
fn succeeding(notifier: &Notifier, watchdog: Option<&Watchdog>, further: &Further) -> io::Result<Program> {
    // Also when there are none: a stray number must not be believed.
    let mut program = Program::own()?
        .with_variable(inherit::MARK, inherit::MARK_VALUE)?
        .with_variable(inherit::FURTHER, further.sockets().len().to_string())?;
    if let Some(address) = notifier.for_successor() {
        program = program.with_variable(notify::VARIABLE, address)?;
    }
    if let Some((name, value)) = watchdog.map(Watchdog::for_successor) {
        program = program.with_variable(name, value)?;
    }
    Ok(program)
}

/// Waits until the predecessor says *go*, or has died: whether another upgrade was asked for meanwhile. `None`: told to stop.
fn await_order(
    predecessor: &Predecessor,
    signals: &Signals,
    mut watch: Option<&mut Watch>,
) -> io::Result<Option<bool>> {
    let mut asked = false;
    loop {
        poll::until(&mut [poll::readable(signals), poll::readable(predecessor)], None)?;
        while let Some(request) = signals.next()? {
            match request {
                Request::Upgrade => asked = true,
                Request::Stop => return Ok(None),
            }
        }
        let orders = match predecessor.hear()? {
            Heard::Gone => return Ok(Some(asked)),
            Heard::Orders(orders) => orders,
        };
        asked |= orders.contains(&Order::Upgrade);
        if let Some(watch) = watch.as_mut().filter(|_| orders.contains(&Order::Changed)) {
            watch.hear();
        }
        if orders.contains(&Order::Go) {
            return Ok(Some(asked));
        }
    }
}

/// What a process begins with.
struct Estate {
    listener: TcpListener,
    /// With the file that has the lock of the pidfile.
    predecessor: Option<Predecessor>,
    lock: Option<File>,
    /// The further listeners that were handed over.
    further: Vec<OwnedFd>,
}

impl Estate {
    /// Inherited where the mark is there and true, else from a supervisor or of its own.
    fn take(options: &Options) -> Result<Self, String> {
        if inherit::is_marked() {
            let inherited = inherit::take(options.address).map_err(failed("take over"))?;
            let lock = options.pidfile.as_ref().map(|_| inherit::take_pidfile(inherit::PIDFILE_FD));
            let predecessor = Some(Predecessor::new(inherited.ready, inherited.alive));
            let lock = lock.transpose().map_err(failed("take over"))?;
            let first = if lock.is_some() { inherit::PIDFILE_FD + 1 } else { inherit::PIDFILE_FD };
            let further = inherit::take_further(first).map_err(failed("take over"))?;
            return Ok(Self { listener: inherited.listener, predecessor, lock, further });
        }
        let bound = || listener::bind(options.address, Sharing::Exclusive);
        let listener = match activation::take(options.address, None).map_err(failed("start"))? {
            Some(activated) => activated,
            None => bound().map_err(failed("listen on its address"))?,
        };
        Ok(Self { listener, predecessor: None, lock: None, further: Vec::new() })
    }

    /// What the predecessor has signed; where there is none, or it died before, this process signs for itself.
    fn pidfile(&mut self, options: &Options) -> Result<Option<Pidfile>, PidfileError> {
        let Some(path) = &options.pidfile else { return Ok(None) };
        let signed = self.lock.take().and_then(|lock| Pidfile::adopt(path, lock).ok());
        signed.map_or_else(|| Pidfile::create(path), Ok).map(Some)
    }
}
