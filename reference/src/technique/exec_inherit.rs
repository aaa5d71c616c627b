//! `exec-inherit`: a master keeps the listener and executes the program again, which inherits it as descriptor 3.
//!
//! The oldest technique that loses nothing (nginx, Unicorn, the article's TCP server), and the simplest: the kernel's own rules of
//! fork(2) and exec(2) hand the socket on, no message, no naming, no second socket.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgAction, Args};

use crate::activation;
use crate::adoption::Adoption;
use crate::config::{Config, ConfigError};
use crate::daemon;
use crate::datagram::Turn;
use crate::defect::{
    Defect, Early, Entrance, Executed, KeptConnection, LongBody, Lowered, Refusal, Succession, Unaware, YoungConnection,
};
use crate::drain::{Drain, Patience};
use crate::further::Further;
use crate::generation::{Farewell, Generation};
use crate::h2::LastStream;
use crate::inherit;
use crate::initialisation::{Initialisation, Outcome};
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::master::{self, Held, Settings};
use crate::notify::{Newline, Notifier};
use crate::poll;
use crate::process::{self, Program};
use crate::service::{Protocol, Service};
use crate::signal::Signals;
use crate::technique::securing::Securing;
use crate::technique::watching::Watching;
use crate::version;
use crate::watch::{Mode, Watch};
use crate::watchdog::Watchdog;
use crate::websocket::Goodbye;

/// How many times the drain timeout a generation takes in the defects that do not keep it.
const OVERLONG: u32 = 3;

/// In the defect of generations that take turns: many times what it takes to stop the old one meanwhile, and less than an answer may.
const DAWDLES: Duration = Duration::from_millis(300);

/// How long a faulty test of the configuration serves: at 300 connects a second some of them come to it.
const TRY_OUT: Duration = Duration::from_millis(30);

/// The command line, the same for the master and for its generations.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one and prints it ("master listening on ADDRESS")
    #[arg(long, default_value = "127.0.0.1:10086")]
    pub address: SocketAddr,
    /// What is spoken on its connections
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// File with further addresses to listen on, one a line: `127.0.0.1:80`, `127.0.0.1:81-89`, `[::1]:80`,
    /// `udp:127.0.0.1:80` (datagrams), `unix:PATH`, `unix:@NAME`. Read for each generation:
    /// what is new there is added, what is not there any more dropped
    #[arg(long, value_name = "PATH")]
    pub also: Option<PathBuf>,
    /// Address of --also at which connections speak HTTP/2, with prior knowledge
    #[arg(long, value_name = "ADDRESS")]
    pub h2_address: Option<SocketAddr>,
    /// Where it speaks TLS
    #[command(flatten)]
    pub securing: Securing,
    /// File to hold the master's pid, written atomically when the first generation is ready, removed at the end
    #[arg(long, value_name = "PATH")]
    pub pidfile: Option<PathBuf>,
    /// What it watches
    #[command(flatten)]
    pub watching: Watching,
    /// When a draining generation cuts what is left, counted from the beginning of the drain
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub drain_timeout_ms: u64,
    /// When a draining generation closes kept connections without a request, counted from the beginning of the drain
    #[arg(long, value_name = "N", default_value_t = 1500)]
    pub idle_grace_ms: u64,
    /// How long a new generation may take to become ready before it is given up
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub ready_timeout_ms: u64,
    /// How long a generation pretends to initialise before it is ready; it says "initialised" then
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub slow_init_ms: u64,
    /// Open connections at which a generation stops accepting; the others wait in the queue [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub connections_max: Option<u64>,
    /// Configuration file, read by each generation before it is ready (`connections-max = N`) [default: none]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// File to which a line is appended for each request; each generation opens it anew [default: none]
    #[arg(long, value_name = "PATH")]
    pub request_log: Option<PathBuf>,
    /// Descriptor that gets a newline when the first generation is ready, and is closed then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..))]
    pub notify_fd: Option<i32>,
    /// Leave the listener with the supervisor (FDSTORE=1), which hands it back after a crash
    #[arg(long, action = ArgAction::SetTrue)]
    pub store_listener: bool,
    /// Say whether the configuration is good, and exit; one that runs is not touched
    #[arg(long, action = ArgAction::SetTrue)]
    pub test_config: bool,
    /// Switch on a deliberate bug, to prove that a check catches it
    #[arg(long, value_name = "NAME")]
    pub defect: Option<Defect>,
}

impl Options {
    /// Of a generation.
    fn patience(&self) -> Patience {
        let timeout = Duration::from_millis(self.drain_timeout_ms);
        let timeout = match self.defect {
            Some(Defect::DeadlineKept) => timeout * OVERLONG,
            Some(Defect::DeadlineNotEarly) => timeout / 2,
            _ => timeout,
        };
        Patience { idle_grace: Duration::from_millis(self.idle_grace_ms), timeout }
    }

    /// Of the master with a generation.
    fn patience_with_generations(&self) -> Patience {
        let timeout = Duration::from_millis(self.drain_timeout_ms) * OVERLONG;
        match self.defect {
            Some(Defect::OldExitsIdle) => Patience { timeout, ..self.patience() },
            _ => self.patience(),
        }
    }

    /// What the configuration file says, and the command line where that says nothing.
    fn configured(&self) -> Result<Config, ConfigError> {
        let said = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        let own = self.connections_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        Ok(Config { connections_max: said.connections_max.or(own) })
    }

    /// What a generation serves.
    fn service(&self, drain: Arc<Drain>) -> std::io::Result<Service> {
        let version = version::own()?;
        Ok(Service {
            protocol: self.protocol,
            version,
            drain,
            kept: KeptConnection::of(self.defect),
            young: YoungConnection::of(self.defect),
            long: LongBody::of(self.defect),
            goodbye: Goodbye::of(self.defect),
            h2: self.h2_address,
            last_stream: LastStream::of(self.defect),
            tls: self.securing.open(version, self.defect).map_err(std::io::Error::other)?,
            requests: self.open_request_log()?,
        })
    }

    /// How it ends in a defect.
    fn farewell(&self) -> Option<Farewell> {
        match self.defect {
            Some(Defect::InflightCompletes) => Some(Farewell::Vanish),
            Some(Defect::OldExitsIdle) => Some(Farewell::Overstay(self.patience().timeout * OVERLONG)),
            Some(Defect::OldStopsAccepting) => Some(Farewell::KeepAccepting),
            Some(Defect::NoSpin(spin)) => Some(Farewell::Spin(spin)),
            Some(Defect::NoRefused(Refusal::ShutDown)) => Some(Farewell::ShutDown),
            _ => None,
        }
    }

    /// Where requests are logged, if anywhere.
    fn open_request_log(&self) -> std::io::Result<Option<Log>> {
        let mut options = File::options();
        match self.defect {
            Some(Defect::LogContinuous) => options.write(true).truncate(true),
            _ => options.append(true),
        };
        let file = self.request_log.as_ref().map(|path| options.create(true).open(path)).transpose()?;
        Ok(file.map(|file| Log::slave().to(file)))
    }

    /// The watch that was asked for.
    fn open_watch(&self, program: &Program) -> std::io::Result<Option<Watch>> {
        let mode = match self.defect {
            Some(Defect::WatchTriggered) => Mode::Raw,
            _ => self.watching.settled(),
        };
        self.watching.open(program, mode)
    }
}

/// In what a technique with a master differs from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// What the master holds.
    pub held: Held,
    /// How a generation ends.
    pub farewell: Farewell,
}

/// The manner of this technique.
const SHARED: Manner = Manner { held: Held::Listener, farewell: Farewell::Drain };

/// Runs as a generation if the process carries the mark, else as the master.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn run(options: &Options) -> Result<(), String> {
    run_as(SHARED, options)
}

/// The same in another manner.
///
/// # Errors
/// As [`run`].
pub fn run_as(manner: Manner, options: &Options) -> Result<(), String> {
    if options.test_config {
        return test_config(options);
    }
    if inherit::is_marked() {
        return serve_as(manner, options);
    }
    match options.defect {
        Some(Defect::ForegroundStays) => {
            process::fork_away().map_err(|error| format!("master failed to fork: {error}"))?;
            master(manner, options, None)
        }
        Some(Defect::Supervisord) => {
            process::leave().map_err(|error| format!("master failed to fork: {error}"))?;
            master(manner, options, None)
        }
        Some(Defect::BinaryReplaced(Executed::OwnInode)) => master(manner, options, Some(Path::new("/proc/self/exe"))),
        Some(Defect::BinaryReplaced(Executed::ThroughStart)) => {
            let zeroth = std::env::args_os().next().unwrap_or_default();
            let start = std::env::current_dir().map_err(|error| format!("master failed to start: {error}"))?;
            master(manner, options, Some(&start.join(zeroth)))
        }
        _ => master(manner, options, None),
    }
}

/// The master. `image` is executed instead of the program's own path, for null targets.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn command(options: &Options, image: Option<&Path>) -> Result<(), String> {
    master(SHARED, options, image)
}

fn master(manner: Manner, options: &Options, image: Option<&Path>) -> Result<(), String> {
    process::seal_descriptors();
    let failed = |what: &'static str| move |error: std::io::Error| format!("master failed to {what}: {error}");
    // First of all: later another descriptor may get the number. What was activated is no pipe.
    let activated =
        activation::take(options.address, options.defect).map_err(|error| format!("master failed to {error}"))?;
    let newline = options.notify_fd.filter(|_| activated.is_none()).and_then(Newline::take);
    // What copies the environment must not copy these.
    let (notifier, watchdog) = (Notifier::take().map_err(failed("find its supervisor"))?, Watchdog::take());
    let own = Program::own().map_err(failed("find its own path"))?;
    // Now, while the working directory exists: the file is written later.
    let pidfile = options.pidfile.as_ref().map(std::path::absolute).transpose().map_err(failed("find its pidfile"))?;
    let watch = options.open_watch(&own).map_err(failed("watch"))?;
    if options.defect == Some(Defect::Limits(Lowered::AtStart)) {
        process::lower_open_files().map_err(failed("lower its limits"))?;
    }
    if options.defect == Some(Defect::NothingLeft) {
        process::leave_helper_behind().map_err(failed("start its helper"))?;
    }
    // Bound below the working directory and dropped with its file in place: that is the bug.
    let _left = match options.defect {
        Some(Defect::NothingLeftSocketFile) => {
            Some(UnixListener::bind("control.sock").map_err(failed("bind its control socket"))?)
        }
        _ => None,
    };
    let program = own.with_variable(inherit::MARK, inherit::MARK_VALUE).map_err(failed("mark its children"))?;
    let program = match image {
        Some(path) => program.with_path(path).map_err(failed("name the image"))?,
        None => program,
    };
    let signals = Signals::take_with(options.defect).map_err(failed("take its signals"))?;
    let adoption = match options.defect {
        Some(Defect::PidOne(Unaware::Orphans)) => None,
        _ => Adoption::take().map_err(failed("take its orphans"))?,
    };
    if options.defect == Some(Defect::Nohup) {
        daemon::let_hangup_kill();
    }
    let settings = Settings {
        address: options.address,
        activated,
        held: manner.held,
        also: options.also.as_deref().map(std::path::absolute).transpose().map_err(failed("find its listeners"))?,
        pidfile,
        program,
        watch,
        notifier,
        adoption,
        watchdog,
        stores_listener: options.store_listener,
        newline,
        ready_timeout: Duration::from_millis(options.ready_timeout_ms),
        patience: options.patience_with_generations(),
        defect: options.defect,
    };
    master::run(settings, signals).map_err(|error| format!("master {error}"))
}

/// What can be wrong with an option has been told by whoever parsed it; whether the address is free is no question of the
/// configuration, and to ask the kernel is to listen.
fn test_config(options: &Options) -> Result<(), String> {
    if options.defect == Some(Defect::ConfigTestHarmless) {
        try_out(options.address).map_err(|error| format!("configuration: {}: {error}", options.address))?;
    }
    options.configured().map_err(|error| format!("configuration: {error}"))?;
    Log::master().line("configuration is good");
    Ok(())
}

/// The mistake of [`Defect::ConfigTestHarmless`]: for a moment it is one more server.
fn try_out(address: SocketAddr) -> std::io::Result<()> {
    let listener = listener::bind(address, Sharing::ReusePort)?;
    let mut taken = Vec::new();
    let end = Instant::now() + TRY_OUT;
    while poll::until(&mut [poll::readable(&listener)], Some(end))? {
        taken.extend(listener::accept(&listener)?);
    }
    Ok(())
}

/// A generation.
///
/// # Errors
/// The reason, complete, for standard error: a stray mark, or no signals to be stopped by.
pub fn serve(options: &Options) -> Result<(), String> {
    serve_as(SHARED, options)
}

fn serve_as(manner: Manner, options: &Options) -> Result<(), String> {
    let log = Log::slave();
    let refused = |error: &dyn std::fmt::Display| format!("slave-{} refuses to serve: {error}", std::process::id());
    let mut inherited = match (options.defect, manner.held) {
        (Some(Defect::FalseMark), _) => inherit::believe().map_err(|error| refused(&error))?,
        (_, Held::Listener) => inherit::take(options.address).map_err(|error| refused(&error))?,
        (_, Held::Address) => inherit::take_address(options.address).map_err(|error| refused(&error))?,
    };
    let further = inherit::take_further(inherit::FURTHER_FD).map_err(|error| refused(&error))?;
    // Open for as long as this generation lives: so long its helper does.
    let _lent = match options.defect {
        Some(Defect::ListenerElsewhere) => {
            Some(process::lend_to_helper(inherited.listener.as_fd()).map_err(|error| refused(&error))?)
        }
        _ => None,
    };
    let signals = Signals::take().map_err(|error| refused(&error))?;
    let drain = Drain::new(options.patience()).map_err(|error| refused(&error))?;
    let service = options.service(drain).map_err(|error| refused(&error))?;
    // Before it is ready: whatever can be wrong with it is wrong with this generation alone.
    let config = options.configured().map_err(|error| refused(&error))?;
    let initialisation = Initialisation {
        takes: Duration::from_millis(options.slow_init_ms),
        waiting: Some(inherited.alive.as_fd()),
        signals: &signals,
        log: &log,
    };
    // A hangup is the master's business, also during this.
    let is_complete = || match initialisation.complete() {
        Ok(outcome) => Ok(matches!(outcome, Outcome::Complete(_))),
        Err(error) => Err(refused(&error)),
    };
    let early = if let Some(Defect::NotEarly(early)) = options.defect { Some(early) } else { None };
    if early.is_none() && !is_complete()? {
        return Ok(());
    }
    if manner.held == Held::Address {
        // As late as this: from now on every other client's connection is this one's.
        let own = inherited.listener.local_addr().and_then(|at| listener::bind(at, Sharing::ReusePort));
        inherited.listener = own.map_err(|error| refused(&error))?;
    }
    log.line(format_args!("serves version {}", service.version));
    if options.defect == Some(Defect::SuspendedOld) {
        // So that its turn comes late for certain, and not by luck.
        std::thread::sleep(DAWDLES);
    }

    // Ready: the listener is verified and everything that can fail has been done. One byte, then closed.
    let _ = rustix::io::write(&inherited.ready, b"\n");
    match early {
        Some(Early::Announces) if !is_complete()? => return Ok(()),
        Some(Early::Serves) => initialisation.complete_meanwhile(),
        Some(Early::Announces) | None => {}
    }
    enter(Entrance::of(options.defect), &inherited.listener).map_err(|error| refused(&error))?;
    // A defect that binds anew waits for this end of file to know that the old copy of the listener is closed.
    let rebinds = Succession::after(u32::MAX, options.defect) != Succession::Shared;
    let listener_closed = match options.defect {
        Some(Defect::SuspendedOld) => Some(take_turns(options).map_err(|error| refused(&error))?),
        _ => Some(inherited.ready).filter(|_| rebinds),
    };
    let generation = Generation {
        further: Some(Arc::new(Further::from(further))),
        turn: Turn::of(options.defect),
        alive: (options.defect != Some(Defect::ComesBack)).then_some(inherited.alive),
        listener_closed,
        connections_max: config.connections_max,
        farewell: options.farewell().unwrap_or(manner.farewell),
        ..Generation::new(inherited.listener, service, signals, log)
    };
    // A hangup for the whole group (a terminal that closes) is the master's business.
    generation.run(&mut || {}).map_err(|error| format!("slave-{} failed: {error}", std::process::id()))
}

/// The mistake of [`Defect::SuspendedOld`]: waits until nobody else may accept. Closed, the file lets the next one.
fn take_turns(options: &Options) -> std::io::Result<OwnedFd> {
    let mut path = options.pidfile.clone().unwrap_or_else(|| PathBuf::from("listener"));
    path.set_extension("lock");
    let lock = File::options().create(true).append(true).open(path)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(lock.into())
}

/// From readiness to the first accept(2): nothing in between, unless a defect pauses there.
fn enter(entrance: Entrance, queue: &std::net::TcpListener) -> std::io::Result<()> {
    let Entrance::Late { pause, backlog } = entrance else { return Ok(()) };
    // A repeated listen(2) changes only the length of the queue.
    rustix::net::listen(queue, backlog)?;
    std::thread::sleep(pause);
    rustix::net::listen(queue, listener::BACKLOG)?;
    Ok(())
}
