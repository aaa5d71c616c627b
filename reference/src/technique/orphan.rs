//! `orphan`: the program puts itself into the background and is adopted by init.
//!
//! The article's daemon starts itself again with an extra argument and returns at once. Here nothing is executed anew: two
//! forks, one session, and a launcher that returns only when the service is there ([`crate::daemon`]).

mod action;
mod beside;
mod options;

pub use action::Action;
pub use options::Options;

use std::net::TcpListener;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::daemon::{self, Manner};
use crate::defect::{Defect, Stale, Unexpected};
use crate::drain::{Drain, Patience};
use crate::generation::{Generation, SERVED_BETWEEN};
use crate::listener::{self, Sharing};
use crate::log::Log;
use crate::logfile::LogFile;
use crate::pidfile::{self, Careless, Claim, Pidfile, PidfileError};
use crate::poll;
use crate::process;
use crate::run::Failure;
use crate::service::Service;
use crate::signal::Signals;
use crate::version;

use beside::Helper;

/// How late a defect is that does something after its launcher has returned, or after it has looked: far above the time of
/// any look.
const LATE: Duration = Duration::from_millis(200);

/// Does what was asked for; the exit code. In a daemon that was started it returns at its end.
///
/// # Errors
/// The reason, complete, for standard error (which is the log in the daemon), and its code.
pub fn run(options: &Options) -> Result<u8, Failure> {
    match options.action {
        Action::Start => start(options)?,
        Action::Stop => action::stop(options)?,
        Action::Restart => {
            action::stop(options)?;
            start(options)?;
        }
        Action::Reload | Action::Reopen => action::hang_up(options)?,
        Action::Status => return action::status(options),
    }
    Ok(0)
}

/// Launches the daemon. Returns in the daemon, at its end; the launcher exits inside.
fn start(options: &Options) -> Result<(), String> {
    match options.defect {
        Some(Defect::FromAnyLauncher(Unexpected::RemovedDirectory)) => {
            let _unused = std::env::current_dir().map_err(failed("find its directory"))?;
        }
        Some(Defect::FromAnyLauncher(Unexpected::ChildOfInit)) if std::os::unix::process::parent_id() == 1 => {
            return Ok(());
        }
        _ => {}
    }
    if options.defect != Some(Defect::NoneInherited) {
        daemon::close_inherited();
    }
    // Against the directory that it was started in; soon it is in another one.
    let absolute = |path: &Path| std::path::absolute(path).map_err(failed("find its files"));
    let (mut pidfile, log) = (absolute(&options.pidfile)?, absolute(&options.log)?);
    if options.defect == Some(Defect::RelativePath) {
        pidfile = options.directory.join(&options.pidfile);
    }
    let manner = options.manner(log).map_err(|error| format!("daemon failed to {error}"))?;
    // Before the fork: a launcher that finds a running daemon has nothing to undo.
    let signature = Signature { claim: claim(options, &pidfile)?, path: pidfile, launcher: std::process::id() };
    let launcher = match daemon::become_daemon(&manner) {
        Ok(launcher) => launcher,
        Err(reason) => {
            signature.withdraw();
            return Err(reason);
        }
    };
    let begun = Daemon::begin(options, signature).and_then(|daemon| daemon.confine(&manner)?.accompany(options));
    let mut daemon = match begun {
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
    daemon.serve(options)
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
fn claim(options: &Options, path: &Path) -> Result<Option<Claim>, String> {
    let defect = options.defect;
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
    let claim = Claim::take_with(path, options.pidfile_mode).map_err(in_words)?;
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
    /// In the launcher of a daemon that failed: also if it had left its pid, and could not take that back itself.
    fn withdraw(self) {
        // The reason of the failure is what is reported; a file that stays is free for the next start.
        let _ = self.claim.map(Claim::withdraw);
    }

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
    /// Runs beside it, if it is to.
    helper: Option<Helper>,
    version: u64,
    /// Where to open the log anew; nowhere when it lies outside its root.
    log: Option<LogFile>,
}

impl Daemon {
    /// Everything that can fail, before the launcher returns. The address first: a pidfile names nobody who fails.
    fn begin(options: &Options, signature: Signature) -> Result<Self, String> {
        // Before anything that can be waited for: a stop that comes now is read later, not lost.
        let signals = Signals::take_with(options.defect).map_err(failed("take its signals"))?;
        // While /proc is there.
        let version = version::own().map_err(failed("read its version"))?;
        let (unsigned, pidfile) = (Some(signature), None);
        let mut daemon = Self { signals, listener: None, unsigned, pidfile, helper: None, version, log: None };
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

    /// Gives up what it does not need any more; the files stay open, under the names that they have inside.
    fn confine(mut self, manner: &Manner) -> Result<Self, String> {
        let inside = |path: &Path| manner.confinement.inside(path);
        let pidfile = self.pidfile.as_ref().and_then(|pidfile| inside(pidfile.path()));
        self.log = inside(&manner.log.path).map(|path| LogFile { path, ..manner.log.clone() });
        if let Err(error) = manner.confinement.enter(&manner.directory) {
            // Whether it succeeds depends on how far that went; the launcher, who is where it was, looks after it.
            let _ = self.pidfile.map(Pidfile::remove);
            return Err(format!("daemon failed to {error}"));
        }
        if let Some(own) = &mut self.pidfile {
            own.moved_to(pidfile);
        }
        Ok(self)
    }

    /// Starts its helper, who has no more rights than it has kept.
    fn accompany(mut self, options: &Options) -> Result<Self, String> {
        if options.helper.is_empty() {
            return Ok(self);
        }
        let lock = self.pidfile.as_ref().filter(|_| options.defect == Some(Defect::RestartBesideHelper));
        let handed: Vec<BorrowedFd<'_>> = lock.into_iter().map(Pidfile::lock).collect();
        let helper = Helper::start(&options.helper, &handed, options.defect);
        self.helper = match helper {
            Ok(helper) => Some(helper),
            Err(error) => {
                let _ = self.pidfile.map(Pidfile::remove);
                return Err(failed("start its helper")(error));
            }
        };
        Ok(self)
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
    fn serve(self, options: &Options) -> Result<(), String> {
        let log = Log::daemon();
        let timeout = Duration::from_millis(options.drain_timeout_ms);
        // A stop has no successor that a kept connection could be sent to: an idle one is closed at once.
        let drain =
            Drain::new(Patience { idle_grace: Duration::ZERO, timeout }).map_err(failed("prepare its drain"))?;
        let version = self.version;
        match options.defect {
            Some(Defect::SurvivesHangup | Defect::HupSurvives) => daemon::let_hangup_kill(),
            Some(Defect::NoZombies) => process::forget_a_child().map_err(failed("start a child"))?,
            _ => {}
        }
        log.line(format_args!("listening on {}, version {version}", options.address));
        let (protocol, requests) = (options.protocol, Some(log.clone()));
        let service = Service { protocol, requests, ..Service::new(version, drain) };
        let listener = self.listener.expect("it listens since it was completed");
        let generation = Generation {
            forgets_after: (options.defect == Some(Defect::Threads)).then_some(SERVED_BETWEEN),
            ..Generation::new(listener, service, self.signals, log.clone())
        };
        let mut reopen = || {
            if options.defect == Some(Defect::LogAppendKept) {
                return;
            }
            match self.log.as_ref().map(LogFile::reopen) {
                Some(Ok(())) => log.line("log opened anew"),
                Some(Err(error)) => log.line(format_args!("cannot open its log anew: {error}")),
                None => log.line("cannot open its log anew: it lies outside its root"),
            }
        };
        generation.run(&mut reopen).map_err(failed("go on"))?;
        // Before the pidfile goes: whoever misses that finds nothing of the daemon any more.
        drop(self.helper);
        match (options.defect, self.pidfile) {
            (Some(Defect::RemovedOnStop), _) | (_, None) => {}
            (Some(Defect::SuccessorKept), Some(pidfile)) => {
                std::fs::remove_file(pidfile.path()).map_err(failed("remove its pidfile"))?;
            }
            (_, Some(pidfile)) => pidfile.remove().map_err(failed("remove its pidfile"))?,
        }
        log.line("stopped");
        if options.defect == Some(Defect::TermClean) {
            return Err("daemon was told to stop and calls that a failure".to_owned());
        }
        Ok(())
    }
}
