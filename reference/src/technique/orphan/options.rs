//! The command line of `orphan`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::Action;
use crate::confine::{ConfineError, Confinement, Credentials};
use crate::daemon::Manner;
use crate::defect::Defect;
use crate::environment::{self, Environment};
use crate::logfile::LogFile;
use crate::service::Protocol;

/// The command line.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to do
    #[arg(value_enum, default_value_t = Action::Start)]
    pub action: Action,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:10099")]
    pub address: SocketAddr,
    /// What is spoken on its connections
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// File to hold the daemon's pid, written before the launcher returns, removed at the end
    #[arg(long, value_name = "PATH", default_value = "child_process.pid")]
    pub pidfile: PathBuf,
    /// Its mode, in octal, whatever the umask
    #[arg(long, value_name = "OCTAL", default_value = "644", value_parser = octal)]
    pub pidfile_mode: u32,
    /// File that standard output and error are appended to; SIGHUP opens it anew
    #[arg(long, value_name = "PATH", default_value = "child_process.log")]
    pub log: PathBuf,
    /// Its mode when it is made, in octal, whatever the umask [default: 644 less the umask]
    #[arg(long, value_name = "OCTAL", value_parser = octal)]
    pub log_mode: Option<u32>,
    /// Working directory of the daemon; with --chroot one inside
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub directory: PathBuf,
    /// File mode creation mask of the daemon, in octal; 0 is one, too
    #[arg(long, value_name = "OCTAL", default_value = "027", value_parser = octal)]
    pub umask: u32,
    /// Root directory of the daemon, from when it listens and its files are open
    #[arg(long, value_name = "PATH")]
    pub chroot: Option<PathBuf>,
    /// User that the daemon becomes then, by name or number, with the groups of that account
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Group that it becomes then, by name or number [default: the user's own]
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Set a variable in the environment of what the daemon executes (repeatable)
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = environment::parse)]
    pub variables: Vec<(OsString, OsString)>,
    /// Begin with an empty environment instead of the launcher's
    #[arg(long, action = ArgAction::SetTrue)]
    pub clear_env: bool,
    /// Program, by its whole path, and arguments, each after a space: what the daemon keeps running beside it
    #[arg(long, value_name = "COMMAND", value_delimiter = ' ')]
    pub helper: Vec<OsString>,
    /// How long the launcher waits for the daemon before it reports a failure
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub ready_timeout_ms: u64,
    /// When a stopping daemon cuts what is left
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub drain_timeout_ms: u64,
    /// How long stop and restart wait for the daemon's end
    #[arg(long, value_name = "N", default_value_t = 10000)]
    pub stop_timeout_ms: u64,
    /// Switch on a deliberate bug, to prove that a check catches it
    #[arg(long, value_name = "NAME")]
    pub defect: Option<Defect>,
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777).ok_or_else(|| "must be 0 to 777".to_owned())
}

impl Options {
    /// How it becomes a daemon, with this log (absolute by now).
    ///
    /// # Errors
    /// Whoever or whatever it is to be confined to does not exist.
    pub(super) fn manner(&self, log: PathBuf) -> Result<Manner, ConfineError> {
        let credentials = Credentials::of(self.user.as_deref(), self.group.as_deref())?;
        let confinement = Confinement::new(self.chroot.as_deref(), credentials)?.with_defect(self.defect);
        Ok(Manner {
            directory: self.directory.clone(),
            umask: self.umask,
            log: LogFile { path: log, mode: self.log_mode, owner: confinement.owner(), defect: self.defect },
            environment: self.environment(),
            confinement,
            patience: Duration::from_millis(self.ready_timeout_ms),
            defect: self.defect,
        })
    }

    pub(super) fn stop_timeout(&self) -> Duration {
        Duration::from_millis(self.stop_timeout_ms)
    }

    fn environment(&self) -> Environment {
        let begun = if self.clear_env { Environment::empty() } else { Environment::inherited() };
        self.variables.iter().fold(begun, |environment, (name, value)| environment.with(name, value))
    }
}
