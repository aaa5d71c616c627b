//! `re-exec`: the process executes the next program in its own place, with execve(2): same pid, same listener.
//!
//! The technique of uWSGI's reload, of `systemctl daemon-reexec` and of sshd.
//!
//! - **When to use it:** under a supervisor that must see one process for ever, for short requests.
//! - **What it guarantees:** one listening socket and one pid throughout; what is in flight is answered whole; a file that cannot be
//!   executed changes nothing.
//! - **What it cannot:** go back, as a new program that fails has no old one beside it; and accept while the old program finishes and
//!   the new one starts: clients wait in the kernel's queue.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustix::event::PollFd;

use crate::activation;
use crate::adoption::Adoption;
use crate::drain::{Drain, Patience};
use crate::generation::{Beside, Generation};
use crate::inherit;
use crate::initialisation::{Hangups, Initialisation, Outcome};
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::notify::{self, Notifier};
use crate::pidfile::{Pidfile, PidfileError};
use crate::poll;
use crate::process::{self, Program};
use crate::service::{Protocol, Service};
use crate::signal::Signals;
use crate::version;

/// The end of `--help`.
pub const HELP: &str = "\
WHEN TO USE IT
  Under a supervisor that must see one process for ever, for a program whose requests are short,
  where clients may wait a moment and a version that does not start is found out before.

WHAT IT GUARANTEES
  The pid never changes, and the listening socket exists without a gap: no connect is refused,
  nothing in the queue is lost. What is in flight is answered whole, within the drain deadline.
  A file that cannot be executed changes nothing: the old program serves on.

WHAT IT CANNOT DO
  Come back: a new version that exits, crashes or hangs when it starts is the end of the service;
  nobody is there to notice but the supervisor. Answer anybody between the last request of the
  old version and the first of the new one: who connects meanwhile waits, for as long as the
  slowest request takes, and the start of the program. Keep connections or state in memory
  beyond the drain deadline. Change the address.

SIGNALS
  HUP        stop accepting, finish what is in flight, execute the file that is installed now
  TERM, INT  stop accepting, drain, end with status 0; also while it is about to be upgraded

FILES
  the executable  its version is a last line \"unbroken-version=N\" appended to it, sent as X-Version
  --pidfile       the pid, 0644, locked; the lock is handed on. Removed by its owner only

ENVIRONMENT
  LISTEN_PID, LISTEN_FDS=1
                  a listener on the address as descriptor 3 (sd_listen_fds(3))
  NOTIFY_SOCKET   sd_notify(3): READY=1, RELOADING=1, STOPPING=1 and a STATUS; passed on to the next
                  program only
  is_slave=true   marks the next program (listener as descriptor 3, the lock of the pidfile as 4). A
                  stray mark is refused with status 1

EXAMPLES
  unbroken-reference re-exec --pidfile run.pid
  cp new x && mv x unbroken-reference && kill -HUP $(cat run.pid)";

/// Length of the accept queue: it takes everybody who comes while nobody accepts. The kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// The command line, the same for each program.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one and prints it ("main-PID listening on ADDRESS")
    #[arg(long, default_value = "127.0.0.1:10086")]
    pub address: SocketAddr,
    /// What is spoken on its connections
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// File to hold the pid, written atomically when it serves, removed at the end
    #[arg(long, value_name = "PATH")]
    pub pidfile: Option<PathBuf>,
    /// When it cuts what is left, counted from the order to upgrade or to stop
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub drain_timeout_ms: u64,
    /// When it closes kept connections without a request, counted from there
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub idle_grace_ms: u64,
    /// Open connections at which it stops accepting; the others wait in the queue [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub connections_max: Option<u64>,
    /// How long it pretends to initialise before it is ready; it says "initialised" then
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub slow_init_ms: u64,
}

/// Completes a reason for standard error.
fn failed<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("main-{} failed to {what}: {error}", std::process::id())
}

/// Runs until it is told to stop; what is executed in its place meanwhile begins here again.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn run(options: &Options) -> Result<(), String> {
    let log = Log::main();
    // Before any other descriptor is opened: what is handed on lies at agreed numbers.
    let (listener, lock) = inheritance(options)?;
    process::seal_descriptors();
    let notifier = Notifier::take().map_err(failed("find its supervisor"))?;
    let program = following(&notifier).map_err(failed("find its own path"))?;
    // What waits since before the exec is read from here, too: blocked signals stay pending (execve(2)).
    let signals = Signals::take().map_err(failed("take its signals"))?;
    let adoption = Adoption::take().map_err(failed("take its orphans"))?;
    let address = listener.local_addr().map_err(failed("find its address"))?;
    log.line(format_args!("listening on {address}"));
    let takes = Duration::from_millis(options.slow_init_ms);
    let initialisation = Initialisation { takes, waiting: None, signals: &signals, log: &log };
    let outcome = initialisation.complete().map_err(failed("initialise"))?;
    let version = version::own().map_err(failed("find its version"))?;
    let pidfile = pidfile(options, lock).map_err(failed("start"))?;
    let mut life = Life { options, log, listener, program, notifier, adoption, pidfile, version };
    match outcome {
        Outcome::Complete(hangups) => life.live(signals, hangups).map_err(failed("go on"))?,
        Outcome::Stopped | Outcome::InVain => life.log.line("told to stop before it served"),
    }
    life.pidfile.map_or(Ok(()), Pidfile::remove).map_err(failed("remove its pidfile"))?;
    life.log.line("stopped");
    Ok(())
}

/// From the program before this one, if there was one; else from a supervisor, or its own.
fn inheritance(options: &Options) -> Result<(TcpListener, Option<File>), String> {
    if inherit::is_marked() {
        let listener = inherit::take_listener(options.address).map_err(failed("go on"))?;
        let lock = options.pidfile.as_ref().map(|_| inherit::take_pidfile(inherit::OWN_PIDFILE_FD));
        return Ok((listener, lock.transpose().map_err(failed("go on"))?));
    }
    let bound = || listener::bind_with(options.address, Sharing::Exclusive, BACKLOG);
    let listener = match activation::take(options.address, None).map_err(failed("start"))? {
        Some(activated) => activated,
        None => bound().map_err(failed("listen on its address"))?,
    };
    Ok((listener, None))
}

/// This program as it is to be executed, with what it needs to go on speaking to its supervisor.
fn following(notifier: &Notifier) -> io::Result<Program> {
    let program = Program::own()?.with_variable(inherit::MARK, inherit::MARK_VALUE)?;
    match notifier.for_successor() {
        Some(address) => program.with_variable(notify::VARIABLE, address),
        None => Ok(program),
    }
}

/// The one that names this process already, or a new one.
fn pidfile(options: &Options, lock: Option<File>) -> Result<Option<Pidfile>, PidfileError> {
    let Some(path) = &options.pidfile else { return Ok(None) };
    lock.map_or_else(|| Pidfile::create(path), |lock| Pidfile::adopt(path, lock)).map(Some)
}

/// A program, until its end or until another one is executed in its place.
struct Life<'a> {
    options: &'a Options,
    log: Log,
    /// Its own copy: what accepts is closed when it is to accept no more.
    listener: TcpListener,
    program: Program,
    notifier: Notifier,
    /// The orphans that pid 1 is given.
    adoption: Option<Adoption>,
    pidfile: Option<Pidfile>,
    version: u64,
}

impl Life<'_> {
    /// Serves; returns when it has been told to stop.
    fn live(&mut self, mut signals: Signals, hangups: Hangups) -> io::Result<()> {
        let serving = format!("serving version {}", self.version);
        self.log.line(format_args!("serves version {}", self.version));
        self.notifier.ready_as(&serving);
        let mut hangups = hangups;
        loop {
            let [idle_grace, timeout] =
                [self.options.idle_grace_ms, self.options.drain_timeout_ms].map(Duration::from_millis);
            let service = Service::new(self.version, Drain::new(Patience { idle_grace, timeout })?)
                .speaking(self.options.protocol);
            let mut generation = Generation::new(self.listener.try_clone()?, service, signals, self.log.clone());
            generation.connections_max =
                self.options.connections_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
            let (path, next) = (self.program.path(), Next::Serve);
            let (notifier, log, adoption) = (&self.notifier, &self.log, self.adoption.as_mut());
            let mut watchman = Watchman { adoption, notifier, next, path, log };
            if hangups == Hangups::Some {
                watchman.hung_up();
            }
            generation.run(&mut watchman)?;
            if watchman.next == Next::Stop {
                return Ok(());
            }
            let handed = std::iter::once(self.listener.as_fd()).chain(self.pidfile.as_ref().map(Pidfile::lock));
            let error = self.program.become_it(&handed.collect::<Vec<_>>());
            // Looked at before, so that this is rare; whoever was told to reconnect reconnects to the same program.
            self.log.line(format_args!("upgrade failed, serves on version {}: {error}", self.version));
            self.notifier.ready_as(&format!("upgrade failed, {serving}"));
            (signals, hangups) = (Signals::take()?, Hangups::None);
        }
    }
}

/// What it does when what it serves has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing: it is not to end.
    Serve,
    /// It executes the next program.
    Upgrade,
    /// It ends.
    Stop,
}

/// Hears the orders beside serving.
struct Watchman<'a> {
    adoption: Option<&'a mut Adoption>,
    notifier: &'a Notifier,
    next: Next,
    path: PathBuf,
    log: &'a Log,
}

impl Beside for Watchman<'_> {
    fn waits(&self) -> Vec<PollFd<'_>> {
        self.adoption.iter().map(|adoption| poll::readable(&**adoption)).collect()
    }

    /// During the drain another one changes nothing: what is executed is what is installed then.
    fn hung_up(&mut self) {
        if self.next != Next::Serve {
            return;
        }
        self.log.line("upgrade requested: signal");
        match process::is_executable(&self.path) {
            Ok(()) => {
                self.notifier.reloading();
                self.next = Next::Upgrade;
            }
            Err(error) => {
                self.log.line(format_args!("upgrade failed, serves on: {}: {error}", self.path.display()));
                self.notifier.status("upgrade failed, serves on");
            }
        }
    }

    /// An upgrade that is about to be is none any more.
    fn stopped(&mut self) {
        self.next = Next::Stop;
        self.notifier.stopping();
    }

    fn turn(&mut self) -> io::Result<Option<&'static str>> {
        // It has no children but those that pid 1 is given.
        self.adoption.as_mut().map_or(Ok(0), |adoption| adoption.reap(|_| false))?;
        Ok((self.next == Next::Upgrade).then_some("told to upgrade"))
    }
}
