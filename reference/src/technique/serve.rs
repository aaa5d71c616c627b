//! `serve`: a server that knows nothing of restarts, and needs to know nothing: somebody else holds its socket.
//!
//! All that it does is what sd_listen_fds(3) and daemon(7), "Socket-Based Activation" ask of any service: it takes the listener that it
//! is given, says when it serves, and when it is told to stop it finishes what it has begun. Started by hand it binds the address
//! itself. systemd, `systemd-socket-activate`, s6 and `unbroken-reference activated` can hold the socket.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::activation;
use crate::drain::{Drain, Patience};
use crate::generation::Generation;
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::notify::{Newline, Notifier};
use crate::process;
use crate::service::{Protocol, Service};
use crate::signal::Signals;
use crate::version;

/// The command line.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on: of the listener that is handed over, or of one's own where none is
    #[arg(long, default_value = "127.0.0.1:10086")]
    pub address: SocketAddr,
    /// What is spoken on its connections
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// Descriptor that gets a newline when it serves, and is closed then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..))]
    pub notify_fd: Option<i32>,
    /// When it cuts what is left, counted from the order to stop
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub drain_timeout_ms: u64,
    /// When it closes kept connections without a request, counted from then
    #[arg(long, value_name = "N", default_value_t = 1500)]
    pub idle_grace_ms: u64,
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn run(options: &Options) -> Result<(), String> {
    let log = Log::slave();
    let refused = |error: &dyn std::fmt::Display| format!("slave-{} failed to start: {error}", std::process::id());
    // First of all: later another descriptor may get the numbers.
    let activated = activation::take(options.address, None).map_err(|error| refused(&error))?;
    let newline = options.notify_fd.and_then(Newline::take);
    process::seal_descriptors();
    let notifier = Notifier::take().map_err(|error| refused(&error))?;
    let signals = Signals::take().map_err(|error| refused(&error))?;
    let version = version::own().map_err(|error| refused(&error))?;
    let [idle_grace, timeout] = [options.idle_grace_ms, options.drain_timeout_ms].map(Duration::from_millis);
    let drain = Drain::new(Patience { idle_grace, timeout }).map_err(|error| refused(&error))?;
    let listener = match activated {
        Some(activated) => activated,
        None => listener::bind(options.address, Sharing::Exclusive).map_err(|error| refused(&error))?,
    };
    log.line(format_args!("serves version {version}"));
    if let Some(newline) = newline {
        newline.ready();
    }
    notifier.ready_as(&format!("serving version {version}"));
    let service = Service::new(version, drain).speaking(options.protocol);
    let generation = Generation::new(listener, service, signals, log);
    // A hangup is the holder's business.
    generation.run(&mut || {}).map_err(|error| format!("slave-{} failed: {error}", std::process::id()))
}
