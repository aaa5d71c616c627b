//! `activated`: a holder keeps the socket, and starts servers that know nothing but socket activation.
//!
//! What systemd's socket units do, and `systemd-socket-activate`, systemfd and einhorn, in its smallest form: the holder binds, and gives
//! the listener to each server that it starts as descriptor 3, announced by LISTEN_FDS and LISTEN_PID (sd_listen_fds(3)). A restart is a
//! new server beside the old one, which is stopped when the new one has said that it serves. Neither server knows of the other.
//!
//! When to use it: for a program whose restarts are not to be its own business, in whatever language it is written, also for several
//! programs that take turns on one address.
//!
//! What it guarantees: the socket is the holder's, so it exists without a gap whoever lives or dies: no connect is refused, nothing that
//! waits in the queue is lost, not even when a server crashes and nobody serves for a moment. A server that never says that it serves is
//! given up, and the old one serves on.
//!
//! What it cannot: make a server finish what it has begun. Whatever is in flight depends on what the program does on SIGTERM. The
//! holder's own code and the address stay until a stop and a start.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::adoption::Adoption;
use crate::drain::Patience;
use crate::master::{self, Held, Settings};
use crate::notify::Notifier;
use crate::process::{self, Program};
use crate::signal::Signals;
use crate::watchdog::Watchdog;

/// The end of `--help`.
pub const HELP: &str = "\
WHEN TO USE IT
  A program whose restarts are not to be its own business, in whatever language it is written. It
  must take its listener from a supervisor (sd_listen_fds(3)), write a newline to descriptor 4 when
  it serves (s6 calls it notification-fd), and finish what it has begun on SIGTERM: for example
  unbroken-reference serve --notify-fd 4.

WHAT IT GUARANTEES
  The socket exists as long as the holder: no connect is refused, nothing in the queue is lost, also
  while no server lives. An old server is stopped only when the new one has said that it serves; one
  that exits or takes longer than --ready-timeout-ms is given up, and the old one serves on. One that
  dies is started again.

WHAT IT CANNOT DO
  Make a server finish what it has begun: that is the server's part. Upgrade the holder, or change
  the address, without a stop and a start.

SIGNALS (to the holder)
  HUP        restart: start the command again, stop the old server when the new one serves
  TERM, INT  close the socket, stop the servers, end with status 0; a second one kills them

ENVIRONMENT (of the servers)
  LISTEN_PID, LISTEN_FDS=1
                  the listener is descriptor 3

EXAMPLES
  unbroken-reference activated --pidfile run.pid -- unbroken-reference serve --notify-fd 4
  kill -HUP $(cat run.pid)                        restart";

/// The command line.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:10086")]
    pub address: SocketAddr,
    /// File to hold the holder's pid, written atomically when the first server serves, removed at the end
    #[arg(long, value_name = "PATH")]
    pub pidfile: Option<PathBuf>,
    /// How long a server that was told to stop may take before it is killed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub stop_timeout_ms: u64,
    /// How long a new server may take until it serves before it is given up
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub ready_timeout_ms: u64,
    /// The server, its path first, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Runs the holder until it is told to stop and its last server has ended.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn run(options: &Options) -> Result<(), String> {
    process::seal_descriptors();
    let failed = |what: &'static str| move |error: io::Error| format!("master failed to {what}: {error}");
    // What copies the environment must not copy these.
    let (notifier, watchdog) = (Notifier::take().map_err(failed("find its supervisor"))?, Watchdog::take());
    let pidfile = options.pidfile.as_ref().map(std::path::absolute).transpose().map_err(failed("find its pidfile"))?;
    let program = Program::other(&options.command).and_then(|it| it.with_variable("LISTEN_FDS", "1"));
    let settings = Settings {
        address: options.address,
        activated: None,
        held: Held::Listener,
        also: None,
        pidfile,
        program: program.map_err(failed("understand the command"))?.told_its_pid("LISTEN_PID"),
        watch: None,
        notifier,
        adoption: Adoption::take().map_err(failed("take its orphans"))?,
        watchdog,
        stores_listener: false,
        newline: None,
        ready_timeout: Duration::from_millis(options.ready_timeout_ms),
        patience: Patience { idle_grace: Duration::ZERO, timeout: Duration::from_millis(options.stop_timeout_ms) },
        defect: None,
    };
    let signals = Signals::take().map_err(failed("take its signals"))?;
    master::run(settings, signals).map_err(|error| format!("master {error}"))
}
