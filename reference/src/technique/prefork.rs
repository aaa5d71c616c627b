//! `prefork`: a master holds the listener, several workers accept from it, and an upgrade replaces them one after the other.
//!
//! What puma's phased restart, uWSGI's chain reload and many a Perl and PHP server do: processes instead of threads, and a restart that
//! costs one more process at a time, never twice as many.
//!
//! When to use it: for programs that serve one request at a time, or few, and that are too large to run twice.
//!
//! What it guarantees: the socket is the master's, so it exists without a gap; no fewer workers than wanted accept at any time; the first
//! new one that fails ends the upgrade, and replaces nobody.
//!
//! What it cannot: be atomic. While it goes on old and new workers serve beside each other, and a client may meet a new one and then an
//! old one. One that fails late leaves both for good, until the next upgrade. The master's own code stays until a stop and a start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::adoption::Adoption;
use crate::drain::{Drain, Patience};
use crate::further::Further;
use crate::generation::Generation;
use crate::inherit;
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::notify::Notifier;
use crate::pool::{self, Settings};
use crate::process::{self, Program};
use crate::service::{Protocol, Service};
use crate::signal::Signals;
use crate::technique::watching::Watching;
use crate::version;

/// The end of `--help`.
pub const HELP: &str = "\
WHEN TO USE IT
  Programs that serve one request at a time, or few, and that are too large to run twice.

WHAT IT GUARANTEES
  The listening socket exists without a gap. At no time do fewer workers accept than are wanted: an
  old one finishes only when a new one has said that it is ready. The first new one that exits or
  takes longer than --ready-timeout-ms ends the upgrade, and replaces nobody. A worker that dies is
  started again. \"upgraded\" is said when the last old one has closed the listener.

WHAT IT CANNOT DO
  Be atomic: during an upgrade old and new workers serve beside each other; one that fails late
  leaves both, until the next upgrade. Upgrade the master itself: its code stays until a stop and a
  start.

SIGNALS (to the master)
  HUP        upgrade: replace the workers one after the other by what is installed now
  TERM, INT  stop accepting, drain, end with status 0; a second one cuts what is left

ENVIRONMENT
  NOTIFY_SOCKET   where READY=1, RELOADING=1, STOPPING=1 and a STATUS are sent (sd_notify(3)); not
                  passed on
  is_slave=true   marks a worker (listener as descriptor 3, readiness pipe as 4, life line as 5). A
                  stray mark is refused with status 1

EXAMPLES
  unbroken-reference prefork --workers 4 --pidfile run.pid
  kill -HUP $(cat run.pid)                        upgrade";

/// The command line, the same for the master and for its workers.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one and prints it ("master listening on ADDRESS")
    #[arg(long, default_value = "127.0.0.1:10086")]
    pub address: SocketAddr,
    /// What is spoken on its connections
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// File with further addresses to listen on, one a line: `127.0.0.1:80`, `127.0.0.1:81-89`, `[::1]:80`,
    /// `udp:127.0.0.1:80` (datagrams), `unix:PATH`, `unix:@NAME`. Read for each upgrade:
    /// what is new there is added, what is not there any more dropped
    #[arg(long, value_name = "PATH")]
    pub also: Option<PathBuf>,
    /// How many workers accept
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: u16,
    /// File to hold the master's pid, written atomically when all workers are ready, removed at the end
    #[arg(long, value_name = "PATH")]
    pub pidfile: Option<PathBuf>,
    /// What it watches
    #[command(flatten)]
    pub watching: Watching,
    /// When a draining worker cuts what is left, counted from the beginning of the drain
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub drain_timeout_ms: u64,
    /// When a draining worker closes kept connections without a request, counted from the beginning of the drain
    #[arg(long, value_name = "N", default_value_t = 1500)]
    pub idle_grace_ms: u64,
    /// How long a new worker may take to become ready before it is given up
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub ready_timeout_ms: u64,
}

impl Options {
    fn patience(&self) -> Patience {
        let [idle_grace, timeout] = [self.idle_grace_ms, self.drain_timeout_ms].map(Duration::from_millis);
        Patience { idle_grace, timeout }
    }
}

/// Runs as a worker if the process carries the mark, else as the master.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn run(options: &Options) -> Result<(), String> {
    if inherit::is_marked() { serve(options) } else { hold(options) }
}

/// The master.
fn hold(options: &Options) -> Result<(), String> {
    process::seal_descriptors();
    let failed = |what: &'static str| move |error: io::Error| format!("master failed to {what}: {error}");
    // What copies the environment must not copy this.
    let notifier = Notifier::take().map_err(failed("find its supervisor"))?;
    let own = Program::own().map_err(failed("find its own path"))?;
    // Now, while the working directory exists: the file is written later.
    let pidfile = options.pidfile.as_ref().map(std::path::absolute).transpose().map_err(failed("find its pidfile"))?;
    let watch = options.watching.open(&own, options.watching.settled()).map_err(failed("watch"))?;
    let program = own.with_variable(inherit::MARK, inherit::MARK_VALUE).map_err(failed("mark its workers"))?;
    let signals = Signals::take().map_err(failed("take its signals"))?;
    let settings = Settings {
        workers: usize::from(options.workers),
        also: options.also.as_deref().map(std::path::absolute).transpose().map_err(failed("find its listeners"))?,
        pidfile,
        program,
        watch,
        notifier,
        adoption: Adoption::take().map_err(failed("take its orphans"))?,
        ready_timeout: Duration::from_millis(options.ready_timeout_ms),
        patience: options.patience(),
    };
    let listener = listener::bind(options.address, Sharing::Exclusive)
        .map_err(|error| format!("master failed to listen on {}: {error}", options.address))?;
    pool::run(settings, listener, signals).map_err(|error| format!("master {error}"))
}

/// A worker.
fn serve(options: &Options) -> Result<(), String> {
    let log = Log::slave();
    let refused = |error: &dyn std::fmt::Display| format!("slave-{} refuses to serve: {error}", std::process::id());
    let inherited = inherit::take(options.address).map_err(|error| refused(&error))?;
    let further = inherit::take_further(inherit::FURTHER_FD).map_err(|error| refused(&error))?;
    let signals = Signals::take().map_err(|error| refused(&error))?;
    let drain = Drain::new(options.patience()).map_err(|error| refused(&error))?;
    let version = version::own().map_err(|error| refused(&error))?;
    log.line(format_args!("serves version {version}"));
    // Ready: everything that can fail has been done. The pipe ends when the listener is given up.
    let _ = rustix::io::write(&inherited.ready, b"\n");
    let service = Service::new(version, drain).speaking(options.protocol);
    let mut generation = Generation::new(Arc::new(inherited.listener), service, signals, log);
    generation.further = Some(Arc::new(Further::from(further)));
    generation.alive = Some(inherited.alive);
    generation.listener_closed = Some(inherited.ready);
    // A hangup for the whole group (a terminal that closes) is the master's business.
    generation.run(&mut || {}).map_err(|error| format!("slave-{} failed: {error}", std::process::id()))
}
