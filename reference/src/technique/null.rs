//! Null targets: they do nothing right, and a suite that passes one of them is broken.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::drain::{Drain, Patience};
use crate::generation::Generation;
use crate::inherit;
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::pidfile::Pidfile;
use crate::poll;
use crate::service::Service;
use crate::signal::{Request, Signals};
use crate::technique::exec_inherit;
use crate::version;

/// What every null target accepts.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one and prints it ("master listening on ADDRESS")
    #[arg(long, default_value = "127.0.0.1:10086")]
    pub address: SocketAddr,
    /// File to hold the pid
    #[arg(long, value_name = "PATH")]
    pub pidfile: Option<PathBuf>,
}

/// `null-claim`: where it leaves its claim.
#[derive(Args, Clone, Debug)]
pub struct ClaimOptions {
    /// What every null target accepts
    #[command(flatten)]
    pub common: Options,
    /// File to touch at each claimed upgrade
    #[arg(long, value_name = "PATH")]
    pub done_file: Option<PathBuf>,
}

/// A listening process without any restart.
struct Standing {
    listener: TcpListener,
    signals: Signals,
    pidfile: Option<Pidfile>,
    log: Log,
}

impl Standing {
    fn new(options: &Options) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("master failed to start: {error}");
        let log = Log::master();
        let signals = Signals::take().map_err(|error| failed(&error))?;
        let listener = listener::bind(options.address, Sharing::Exclusive).map_err(|error| failed(&error))?;
        let pidfile = options.pidfile.as_deref().map(Pidfile::create).transpose().map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        log.line(format_args!("listening on {address}"));
        Ok(Self { listener, signals, pidfile, log })
    }

    /// Serves like a reference; what it does on SIGHUP is up to the caller, who gets the pidfile.
    fn serve(self, on_upgrade: &mut dyn FnMut(&Log, Option<&mut Pidfile>)) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("master failed: {error}");
        let patience = Patience { idle_grace: Duration::from_millis(1500), timeout: Duration::from_secs(5) };
        let drain = Drain::new(patience).map_err(failed)?;
        let version = version::own().map_err(failed)?;
        let Self { listener, signals, mut pidfile, log } = self;
        let generation = Generation::new(listener, Service::new(version, drain), signals, log.clone());
        generation.run(&mut || on_upgrade(&log, pidfile.as_mut())).map_err(failed)?;
        pidfile.map_or(Ok(()), Pidfile::remove).map_err(failed)
    }
}

/// `null-silent`: accepts every connection, holds it, and never says a word.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn silent(options: &Options) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("master failed: {error}");
    let standing = Standing::new(options)?;
    let mut held = Vec::new();
    loop {
        poll::until(&mut [poll::readable(&standing.signals), poll::readable(&standing.listener)], None)
            .map_err(failed)?;
        while let Some(request) = standing.signals.next().map_err(failed)? {
            if request == Request::Stop {
                return standing.pidfile.map_or(Ok(()), Pidfile::remove).map_err(failed);
            }
        }
        held.extend(listener::accept(&standing.listener).map_err(failed)?);
    }
}

/// `null-deaf`: serves well and ignores the restart signal.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn deaf(options: &Options) -> Result<(), String> {
    Standing::new(options)?.serve(&mut |_, _| {})
}

/// `null-claim`: says that it has restarted, in the log, the pidfile and a file of its own, and has not.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn claim(options: &ClaimOptions) -> Result<(), String> {
    Standing::new(&options.common)?.serve(&mut |log, pidfile| {
        log.line("upgraded");
        if let Some(Err(error)) = pidfile.map(Pidfile::rewrite) {
            log.line(error);
        }
        if let Some(Err(error)) = options.done_file.as_deref().map(touch) {
            log.line(error);
        }
    })
}

/// Creates the file or renews its time.
fn touch(path: &Path) -> std::io::Result<()> {
    File::options().create(true).append(true).open(path)?.set_modified(SystemTime::now())
}

/// `null-old-inode`: upgrades like `exec-inherit`, but executes `/proc/self/exe`: the image that was started first, for ever.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn old_inode(options: &exec_inherit::Options) -> Result<(), String> {
    if inherit::is_marked() {
        exec_inherit::serve(options)
    } else {
        exec_inherit::command(options, Some(Path::new("/proc/self/exe")))
    }
}
