//! `orphan`: the program puts itself into the background and is adopted by init.
//!
//! The article's daemon starts itself again with an extra argument and returns at once. Here nothing is executed anew: two
//! forks, one session, and a launcher that returns only when the service is there ([`crate::daemon`]).

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use crate::daemon::{self, Manner};
use crate::defect::{Defect, KeptConnection, LongBody, Stale, Unexpected, YoungConnection};
use crate::drain::{Drain, Patience};
use crate::generation::{Farewell, Generation, SERVED_BETWEEN};
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::pidfile::{self, Careless, Claim, Pidfile, PidfileError};
use crate::poll;
use crate::process;
use crate::service::Service;
use crate::signal::Signals;
use crate::version;

/// How late a defect is that does something after its launcher has returned, or after it has looked: far above the time of
/// any look.
const LATE: Duration = Duration::from_millis(200);

/// The command line.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:10099")]
    pub address: SocketAddr,
    /// File to hold the daemon's pid, written before the launcher returns, removed at the end
    #[arg(long, value_name = "PATH", default_value = "child_process.pid")]
    pub pidfile: PathBuf,
    /// File that standard output and error are appended to; SIGHUP opens it anew
    #[arg(long, value_name = "PATH", default_value = "child_process.log")]
    pub log: PathBuf,
    /// Working directory of the daemon
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub directory: PathBuf,
    /// File mode creation mask of the daemon, in octal
    #[arg(long, value_name = "OCTAL", default_value = "027", value_parser = octal)]
    pub umask: u32,
    /// How long the launcher waits for the daemon before it reports a failure
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub ready_timeout_ms: u64,
    /// When a stopping daemon cuts what is left
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub drain_timeout_ms: u64,
    /// Switch on a deliberate bug, to prove that a check catches it
    #[arg(long, value_name = "NAME")]
    pub defect: Option<Defect>,
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777).ok_or_else(|| "must be 0 to 777".to_owned())
}

/// Launches the daemon. Returns in the daemon, at its end; the launcher exits inside.
///
/// # Errors
/// The reason, complete, for standard error (which is the log in the daemon).
pub fn run(options: &Options) -> Result<(), String> {
    match options.defect {
        Some(Defect::FromAnyLauncher(Unexpected::RemovedDirectory)) => {
            let _unused = std::env::current_dir().map_err(failed("find its directory"))?;
        }
        Some(Defect::FromAnyLauncher(Unexpected::ChildOfInit)) if std::os::unix::process::parent_id() == 1 => {
            return Ok(());
        }
        _ => {}
    }
    // Against the directory that it was started in; soon it is in another one.
    let absolute = |path: &Path| std::path::absolute(path).map_err(failed("find its files"));
    let (pidfile, log) = (absolute(&options.pidfile)?, absolute(&options.log)?);
    let manner = Manner {
        directory: options.directory.clone(),
        umask: options.umask,
        log: log.clone(),
        patience: Duration::from_millis(options.ready_timeout_ms),
        defect: options.defect,
    };
    if options.defect != Some(Defect::NoneInherited) {
        daemon::close_inherited();
    }
    // Before the fork: a launcher that finds a running daemon has nothing to undo.
    let signature = Signature { claim: claim(options.defect, &pidfile)?, path: pidfile, launcher: std::process::id() };
    let launcher = daemon::become_daemon(&manner)?;
    let mut daemon = match Daemon::begin(options, signature) {
        Ok(daemon) => daemon,
        Err(reason) => {
            launcher.failed(&reason);
            return Err(reason);
        }
    };
    // A launcher that believes in its child does not listen.
    if let Err(error) = launcher.ready()
        && options.defect != Some(Defect::FailureReported)
    {
        // Nobody believes that it runs: then it must not.
        daemon.pidfile.map_or(Ok(()), Pidfile::remove).map_err(failed("remove its pidfile"))?;
        return Err(format!("daemon gives up, its launcher is gone: {error}"));
    }
    daemon.complete(options)?;
    daemon.serve(options, &log)
}

/// How the pidfile is written by the defects that do without a claim.
fn carelessness(defect: Option<Defect>) -> Option<Careless> {
    match defect {
        Some(Defect::SecondStartRefused | Defect::SingleWinner) => Some(Careless::Unlocked),
        Some(Defect::StaleReplaced(Stale::NotTruncated)) => Some(Careless::Untruncated),
        Some(Defect::NoSymlink) => Some(Careless::Following),
        _ => None,
    }
}

/// The right to the pidfile; none where a defect writes without.
fn claim(defect: Option<Defect>, path: &Path) -> Result<Option<Claim>, String> {
    let in_words = |error: PidfileError| format!("daemon failed to {error}");
    if matches!(defect, Some(Defect::StaleReplaced(Stale::Believed) | Defect::SingleWinner))
        && path.symlink_metadata().is_ok_and(|it| it.is_file())
        && let Ok(content) = std::fs::read_to_string(path)
        && let Some(pid) = pidfile::living(&content)
    {
        return Err(in_words(PidfileError::Running(path.to_owned(), pid)));
    }
    if carelessness(defect).is_some() {
        return Ok(None);
    }
    let claim = Claim::take(path).map_err(in_words)?;
    if defect == Some(Defect::Mode) {
        claim.trust_umask().map_err(failed("set its pidfile's mode"))?;
    }
    Ok(Some(claim))
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("daemon failed to {what}: {error}")
}

/// A pidfile that is still to be written.
struct Signature {
    claim: Option<Claim>,
    path: PathBuf,
    /// Who claimed it.
    launcher: u32,
}

impl Signature {
    /// Leaves the pid.
    fn leave(self, defect: Option<Defect>) -> Result<Pidfile, String> {
        let Self { claim, path, launcher } = self;
        let pidfile = match (claim, carelessness(defect)) {
            (Some(claim), _) => claim.sign(),
            (None, carelessness) => Pidfile::overwrite(&path, carelessness.unwrap_or(Careless::Unlocked)),
        };
        let pidfile = pidfile.map_err(|error| format!("daemon failed to {error}"))?;
        if defect == Some(Defect::CloseOnExec) {
            pidfile.hand_on().map_err(failed("hand its pidfile on"))?;
        }
        let wrong = match defect {
            Some(Defect::OwnPid) => format!("{launcher}\n"),
            Some(Defect::Format) => format!("pid {}\n", std::process::id()),
            _ => return Ok(pidfile),
        };
        std::fs::write(path, wrong).map_err(failed("spoil its pidfile"))?;
        Ok(pidfile)
    }
}

/// What a launcher is to find: a listening socket, and a pidfile that names its owner.
struct Daemon {
    signals: Signals,
    /// Absent only with [`Defect::AtReturn`].
    listener: Option<TcpListener>,
    /// Still there only with [`Defect::PresentAtReturn`].
    unsigned: Option<Signature>,
    pidfile: Option<Pidfile>,
}

impl Daemon {
    /// Everything that can fail, before the launcher returns. The address first: a pidfile names nobody who fails.
    fn begin(options: &Options, signature: Signature) -> Result<Self, String> {
        // Before anything that can be waited for: a stop that comes now is read later, not lost.
        let signals = Signals::take_with(options.defect).map_err(failed("take its signals"))?;
        let mut daemon = Self { signals, listener: None, unsigned: Some(signature), pidfile: None };
        if options.defect == Some(Defect::SecondStartRefused) {
            daemon.sign(options.defect)?;
        }
        if options.defect == Some(Defect::SingleWinner) {
            poll::until(&mut [], Some(Instant::now() + LATE)).map_err(failed("initialise"))?;
        }
        if options.defect != Some(Defect::AtReturn) {
            daemon.listen(options)?;
        }
        if !matches!(options.defect, Some(Defect::PresentAtReturn | Defect::SystemdForking)) {
            daemon.sign(options.defect)?;
        }
        if options.defect == Some(Defect::TermCleanEarly) {
            daemon::forget_stop();
        }
        Ok(daemon)
    }

    /// Nothing is left to do, but for the defects that do it late.
    fn complete(&mut self, options: &Options) -> Result<(), String> {
        if self.listener.is_none() || self.unsigned.is_some() {
            let deadline = Some(Instant::now() + LATE);
            poll::until(&mut [], deadline).map_err(failed("be late"))?;
        }
        if self.listener.is_none() {
            self.listen(options)?;
        }
        self.sign(options.defect)
    }

    fn listen(&mut self, options: &Options) -> Result<(), String> {
        let address = options.address;
        let sharing = match options.defect {
            Some(Defect::RebindAtOnce) => Sharing::ExclusiveEvenOfThePast,
            Some(Defect::SingleWinner) => Sharing::ReusePort,
            _ => Sharing::Exclusive,
        };
        let listener = listener::bind(address, sharing)
            .map_err(|error| format!("daemon failed to listen on {address}: {error}"))?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Leaves the pid, unless it has been left.
    fn sign(&mut self, defect: Option<Defect>) -> Result<(), String> {
        if let Some(signature) = self.unsigned.take() {
            self.pidfile = Some(signature.leave(defect)?);
        }
        Ok(())
    }

    /// Serves until it is told to stop.
    fn serve(self, options: &Options, log_path: &Path) -> Result<(), String> {
        let log = Log::daemon();
        let timeout = Duration::from_millis(options.drain_timeout_ms);
        // A stop has no successor that a kept connection could be sent to: an idle one is closed at once.
        let drain =
            Drain::new(Patience { idle_grace: Duration::ZERO, timeout }).map_err(failed("prepare its drain"))?;
        let version = version::own().map_err(failed("read its version"))?;
        match options.defect {
            Some(Defect::SurvivesHangup | Defect::HupSurvives) => daemon::let_hangup_kill(),
            Some(Defect::NoZombies) => process::forget_a_child().map_err(failed("start a child"))?,
            _ => {}
        }
        log.line(format_args!("listening on {}, version {version}", options.address));
        let service = Service {
            version,
            drain,
            kept: KeptConnection::Answer,
            young: YoungConnection::Await,
            long: LongBody::Finish,
            requests: Some(log.clone()),
        };
        let generation = Generation {
            listener: self.listener,
            service: Arc::new(service),
            signals: self.signals,
            log: log.clone(),
            alive: None,
            listener_closed: None,
            connections_max: None,
            forgets_after: (options.defect == Some(Defect::Threads)).then_some(SERVED_BETWEEN),
            farewell: Farewell::Drain,
            overstay: None,
        };
        let reopen = &mut || {
            if options.defect == Some(Defect::LogAppendKept) {
                return;
            }
            match daemon::reopen_log(log_path, options.defect) {
                Ok(()) => log.line("log opened anew"),
                Err(error) => log.line(format_args!("cannot open its log anew: {error}")),
            }
        };
        generation.run(reopen).map_err(failed("go on"))?;
        match (options.defect, self.pidfile) {
            (Some(Defect::RemovedOnStop), _) | (_, None) => {}
            (_, Some(pidfile)) => pidfile.remove().map_err(failed("remove its pidfile"))?,
        }
        log.line("stopped");
        if options.defect == Some(Defect::TermClean) {
            return Err("daemon was told to stop and calls that a failure".to_owned());
        }
        Ok(())
    }
}
