//! `nohup`: what a program needs to outlive the terminal that it was started from, and no more (nohup(1)).
//!
//! It is no daemon: it stays in its session and its process group, keeps its terminal, its directory, its umask and every
//! descriptor, and there is no pidfile and no word that it is ready. For `nohup program &` the shell adds the `&`, and a process
//! group with it. Where that is not enough, see [`crate::daemon`].

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::run::Failure;

/// "An error occurred in the nohup utility", "was found but could not be invoked", "could not be found" (POSIX, nohup).
const OWN_FAILURE: u8 = 125;
const NOT_INVOKED: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The command line.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// File that standard output and error are appended to
    #[arg(long, value_name = "PATH", default_value = "nohup.out")]
    pub output: PathBuf,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A program that ignores SIGHUP, appends what it says to a file and has nothing to read: to be started beside this process (`spawn`)
/// or in its place (`exec`).
///
/// Reading fails with EBADF and does not end at once, as it would from `/dev/null`: a program that asks something
/// should not take silence for an answer. The file, if it is made, is its owner's only: nobody has said what will be in it.
///
/// # Errors
/// What opening the output reports.
pub fn nohup(program: &OsStr, output: &Path) -> io::Result<Command> {
    let unreadable = File::options().write(true).open("/dev/null")?;
    let output = File::options().append(true).create(true).mode(0o600).open(output)?;
    let mut command = Command::new(program);
    command.stdin(unreadable).stdout(output.try_clone()?).stderr(output);
    // SAFETY: signal(2) is async-signal-safe, and installs no handler function; what is ignored stays so through execve(2).
    unsafe {
        command.pre_exec(|| match libc::signal(libc::SIGHUP, libc::SIG_IGN) {
            libc::SIG_ERR => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    Ok(command)
}

/// Becomes the program.
///
/// # Errors
/// Why it did not, and nohup(1)'s exit code for that.
pub fn run(options: &Options) -> Result<(), Failure> {
    let [program, arguments @ ..] = options.command.as_slice() else { unreachable!("clap requires one") };
    let failed = |what: &OsStr, error: &io::Error| format!("nohup failed to run {}: {error}", what.display());
    let mut command = nohup(program, &options.output)
        .map_err(|error| Failure { code: OWN_FAILURE, reason: failed(options.output.as_os_str(), &error) })?;
    let error = command.args(arguments).exec();
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_INVOKED };
    Err(Failure { code, reason: failed(program, &error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_outlives_a_hangup_reads_nothing_appends_and_stays_in_its_session() {
        let scratch = Scratch::new("nohup");
        let output = scratch.path().join("out");
        let script = "kill -HUP $$; cut -d' ' -f6 /proc/$$/stat; cat 2>/dev/null || echo unreadable >&2";
        for _ in 0..2 {
            let mut command = nohup("sh".as_ref(), &output).expect("open");
            assert!(command.args(["-c", script]).status().expect("run").success(), "the hangup is ignored");
        }
        let session = nix::unistd::getsid(None).expect("ours");
        let once = format!("{session}\nunreadable\n");
        assert_eq!(std::fs::read_to_string(&output).expect("read"), once.repeat(2));
        assert_eq!(output.metadata().expect("stat").permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn what_cannot_be_run_has_its_code() {
        let scratch = Scratch::new("nohup-fails");
        let check = |command: &str, output: &str, want: u8| {
            let options = Options { output: scratch.path().join(output), command: vec![command.into()] };
            assert_eq!(run(&options).expect_err(command).code, want);
        };
        check("/nonexistent", "out", 127);
        check("/dev/null", "out", 126);
        check("true", "no/such/directory", 125);
    }
}
