//! Dispatch: an executable that links this crate acts as a reference server when it is called so.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};

use crate::defect::DefectRow;
use crate::technique::{
    activated, exec_inherit, fd_handover, nohup, null, orphan, prefork, re_exec, reuseport, serve, takeover,
};

/// File name, or its end, that makes [`run_if_asked`] act.
pub const NAME: &str = "unbroken-reference";

/// Reference servers: graceful restarts done right, and every deliberate way to get them wrong.
#[derive(Debug, Parser)]
#[command(name = NAME, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    technique: Technique,
}

const EXEC_INHERIT: &str = "\
WHEN TO USE IT
  One machine, one program that owns its listening sockets, a supervisor that follows one pid.
  The master stays, so the pid never changes; nothing but fork, exec and an inherited
  descriptor is needed.

WHAT IT GUARANTEES
  The listening socket exists without a gap: no connect is refused, nothing in the queue is
  lost. The old generation is told to go only when the new one has said that it is ready; one
  that exits, hangs or cannot be executed is given up, and the old one serves on. Requests in
  progress are answered whole. Kept connections get an answer to their next request that
  announces the end.

WHAT IT CANNOT DO
  Upgrade the master itself: its code stays until a stop and a start. Keep connections or state in
  memory beyond the drain deadline. Change the address: that needs a restart too.

SIGNALS (to the master)
  HUP        upgrade: start the file that is installed at its path now
  TERM, INT  stop accepting, drain, end with status 0; a second one cuts what is left
  Generations are the master's business; one whose master is gone drains and ends.

FILES
  the executable  watched; installed by rename, it is upgraded to. Its version is a last line
                  \"unbroken-version=N\" appended to it, and is sent in each answer as X-Version
  --pidfile       the master's pid, 0644, locked, atomically written, removed by its owner only

ENVIRONMENT
  LISTEN_PID, LISTEN_FDS=1
                  a listener on the address as descriptor 3 (sd_listen_fds(3)): a supervisor's,
                  or what --store-listener left there. For another process they mean nothing
  NOTIFY_SOCKET   where READY=1, RELOADING=1, STOPPING=1 and a STATUS are sent (sd_notify(3)); not
                  passed on
  WATCHDOG_USEC, WATCHDOG_PID
                  WATCHDOG=1 is sent there in half that time, through upgrades and drains too
                  (sd_watchdog_enabled(3)); not passed on
  is_slave=true   marks a generation (listener as descriptor 3, readiness pipe as 4, life line
                  as 5). A stray mark is refused with status 1

EXAMPLES
  unbroken-reference exec-inherit --pidfile run.pid
  kill -HUP $(cat run.pid)                        upgrade
  cp new x && mv x unbroken-reference             upgrade too
  unbroken-reference exec-inherit --watch site.toml --debounce-ms 200";

const REUSEPORT: &str = "\
WHEN TO USE IT
  Where a listener cannot be handed on, or each worker is to have an accept queue of its own.
  Where it can be handed on, exec-inherit is simpler and loses nothing by its nature.

WHAT IT GUARANTEES
  Some socket listens at every instant: each generation has one of its own (SO_REUSEPORT), and
  listens before the one before is told to go. No connect is refused. The rest is as with
  exec-inherit: readiness, drain, rollback.

WHAT IT CANNOT DO
  Keep what belongs to the socket that is closed: its accept queue and its half-open handshakes
  are reset. With --keep-queue a generation sends new clients to the next one, and accepts what
  waits, before it closes; with net.ipv4.tcp_migrate_req=1 (Linux 5.14) the kernel moves the rest
  to another socket of the group. With both nothing is lost; without the second the master says
  so when it starts.
  Let another user's process listen beside it: a group belongs to one user (socket(7)).

SIGNALS, FILES, ENVIRONMENT
  As with exec-inherit; descriptor 3 of a generation is a socket that only holds the address.

EXAMPLES
  unbroken-reference reuseport --pidfile run.pid
  sysctl net.ipv4.tcp_migrate_req=1 && unbroken-reference reuseport --keep-queue --pidfile run.pid";

const FD_HANDOVER: &str = "\
WHEN TO USE IT
  For processes that are not parent and child: an operator starts the new instance beside the
  old one; two containers share a directory and nothing else.

WHAT IT GUARANTEES
  The new instance gets the very sockets (SCM_RIGHTS): no connect is refused, nothing in a queue
  is lost, and no handshake that is half done. The old one goes when the new one has said that it
  serves; one that dies, or takes longer than --ready-timeout-ms, changes nothing. All of the
  program is new: there is no master. Only processes of the same user are answered. Further
  listeners (--also), as many as there are, may be others in each instance: the added ones are
  bound, the dropped ones closed, the rest never blinks.

WHAT IT CANNOT DO
  Keep its pid: follow the pidfile. Tell a second start from an upgrade: it is one.
  Change the address: that needs a stop and a start.

SIGNALS (to the instance in the pidfile)
  TERM, INT  stop accepting, drain, end with status 0

FILES
  --socket   where the next instance asks for the listeners; 0600, replaced by rename
  --also     further addresses, one a line; the file of a UNIX socket is removed by the last
             instance that listens there
  --pidfile  the pid of the instance that serves, 0644, replaced by rename at an upgrade, removed
             by its owner only

EXAMPLES
  unbroken-reference fd-handover --pidfile run.pid &
  unbroken-reference fd-handover --pidfile run.pid &      takes over: the first one drains, and ends";

const ORPHAN: &str = "\
WHEN TO USE IT
  A program that has to put itself into the background: started by hand, from an init script, or
  by a service manager with Type=forking. Where there is a choice, stay in the foreground.

ACTIONS (an init script's, on the daemon that --pidfile names)
  start      [default] put a daemon into the background
  stop       SIGTERM, and wait for its end (--stop-timeout-ms); it is never killed
  restart    stop, then start, with a gap; nothing is handed over
  reload, reopen
             SIGHUP, both: there is no configuration but the command line
  status     say on standard output whether it runs, and change nothing
  A process is the daemon only if it has the lock of its pidfile (/proc/PID/fdinfo), and is
  signalled through a pidfd: a stranger that has got the number is never hit. Where this user may
  not look into the process, it is not signalled.

WHAT IT GUARANTEES
  When the launcher returns 0 the daemon listens, its pidfile names it, and it is init's child in a
  session of its own without a terminal. When it cannot start (address in use, pidfile held or not
  writable, no such user, too slow) the launcher returns 1 with the reason on standard error, and
  nothing is left. Nothing of the launcher stays: no descriptor, no signal mask, no umask, no
  directory. Nothing but fork tells a daemon from a launcher: no argument, no variable.
  What is given up with --chroot, --user and --group is given up when it listens and its files are
  open, and before the launcher returns; the kernel is asked afterwards whether it is so.

WHAT IT CANNOT DO
  Restart without a gap. See exec-inherit.
  With --chroot, open a log anew that lies outside. With --chroot or --user, remove a pidfile that
  it cannot reach or whose directory it may not write to: it empties it.

SIGNALS (to the daemon)
  HUP        open the log anew
  TERM, INT  stop accepting, finish what was begun, end with status 0

FILES
  --pidfile  the daemon's pid, 0644, atomically written, locked from before the fork until the
             end, removed by its owner only. What a dead daemon left is replaced; a link, FIFO
             or directory in its place is refused. Root's, also with --user: whoever may write
             it names whom a stop signals. Whoever may read it can lock it and prevent a start:
             where local users are not trusted, --pidfile-mode 600
  --log      standard output and error, appended to; each request's method and URL. With --user
             a new one belongs to that user, and a link in its place is refused

EXIT STATUS (LSB 5.0 Core, \"Init Script Actions\")
  0  done; status: it runs              1  failed; status: it is dead and its pidfile is left
  2  usage                              3  status: it does not run
  4  no right to; status: unknown       7  reload, reopen: it does not run
  stop is 0 also where nothing runs. start is 1 where it runs already, unlike LSB: the options of
  the second would not be in force.

EXAMPLES
  unbroken-reference orphan --pidfile run.pid --log run.log && curl http://127.0.0.1:10099/
  unbroken-reference orphan status --pidfile run.pid
  unbroken-reference orphan stop --pidfile run.pid
  unbroken-reference orphan --address 0.0.0.0:80 --user www-data --chroot /srv/www --clear-env";

/// The first line of each is its help in the list; null targets take all their text from it.
#[derive(Debug, Subcommand)]
enum Technique {
    /// A master keeps the listener; each generation is executed anew and inherits it as descriptor 3
    #[command(after_long_help = with_defects(EXEC_INHERIT, Kind::Restart), after_help = "--help says when to use it and what it guarantees")]
    ExecInherit(Deferred<exec_inherit::Options>),
    /// No master: the process that serves starts its successor, hands it the listener, and goes
    #[command(after_long_help = takeover::HELP, after_help = "--help says when to use it and what it guarantees")]
    Takeover(Deferred<takeover::Options>),
    /// The process executes the next program in its own place: same pid, same listener
    #[command(after_long_help = re_exec::HELP, after_help = "--help says when to use it and what it guarantees")]
    ReExec(Deferred<re_exec::Options>),
    /// Each generation listens with a socket of its own, beside the one before (SO_REUSEPORT)
    #[command(after_long_help = REUSEPORT, after_help = "--help says when to use it and what it guarantees")]
    Reuseport(Deferred<reuseport::Options>),
    /// A new instance asks the old one for its listeners, over a UNIX socket
    #[command(after_long_help = FD_HANDOVER, after_help = "--help says when to use it and what it guarantees")]
    FdHandover(Deferred<fd_handover::Options>),
    /// A master and several workers that accept from one listener; an upgrade replaces them one after the other
    #[command(after_long_help = prefork::HELP, after_help = "--help says when to use it and what it guarantees")]
    Prefork(Deferred<prefork::Options>),
    /// A holder keeps the listener, and starts servers that know nothing but socket activation
    #[command(after_long_help = activated::HELP, after_help = "--help says when to use it and what it guarantees")]
    Activated(Deferred<activated::Options>),
    /// A server without a restart of its own: it takes the listener that it is given, and finishes what it has begun
    ///
    /// LISTEN_PID and LISTEN_FDS=1 announce the listener as descriptor 3 (sd_listen_fds(3)); without them it binds --address itself.
    /// It says that it serves by a newline to --notify-fd, and by READY=1 to NOTIFY_SOCKET. TERM and INT: stop accepting, finish what was
    /// begun, end with status 0.
    Serve(Deferred<serve::Options>),
    /// The program puts itself into the background and is adopted by init
    #[command(after_long_help = with_defects(ORPHAN, Kind::Daemon), after_help = "--help says when to use it and what it guarantees")]
    Orphan(Deferred<orphan::Options>),
    /// Runs a command immune to hangups, in its own place: no daemon, and often enough
    ///
    /// SIGHUP is ignored; standard output and error are appended to a file of mode 0600; standard input cannot be read. Session,
    /// process group, terminal, directory and descriptors stay what they are. Exit status: the command's; 127 when it was not
    /// found, 126 when it cannot be executed, 125 when the file cannot be opened. In a shell: unbroken-reference nohup -- COMMAND &
    Nohup(Deferred<nohup::Options>),
    /// Null target: exits at once with status 0
    ///
    /// It claims by its status that all is well and never listens. Must never pass.
    NullExit(Deferred<null::Options>),
    /// Null target: accepts every connection and never answers
    ///
    /// A connect succeeds, so a check that only connects is fooled. TERM ends it. Must never pass.
    NullSilent(Deferred<null::Options>),
    /// Null target: serves well and ignores the restart signal
    ///
    /// No request is ever lost, because nothing ever happens on HUP. TERM drains it. Must never pass.
    NullDeaf(Deferred<null::Options>),
    /// Null target: claims an upgrade at each HUP without one
    ///
    /// It logs "upgraded", rewrites its pidfile and touches --done-file, and goes on serving. Must never pass.
    NullClaim(Deferred<null::ClaimOptions>),
    /// Null target: upgrades like exec-inherit, but executes /proc/self/exe
    ///
    /// New processes appear and nothing is lost, but they run the image that was started first: the version never changes.
    /// Must never pass.
    NullOldInode(Deferred<exec_inherit::Options>),
}

/// Options that clap learns when they are asked for: all of them at once were 0.12 of the 1.55 ms in which a generation starts.
#[derive(Debug)]
struct Deferred<T>(T);

impl<T: Args> Args for Deferred<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| {
            // The technique's, which the options would replace by their own.
            let about = [command.get_about(), command.get_long_about()].map(|text| Resettable::from(text.cloned()));
            let [about, long_about] = about;
            T::augment_args(command).about(about).long_about(long_about)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(T::augment_args_for_update)
    }
}

impl<T: Args> FromArgMatches for Deferred<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Whose defects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Restart,
    Daemon,
}

/// A technique's help, with the names of its defects at its end: 95 characters a line at most, as the rest.
fn with_defects(help: &str, kind: Kind) -> String {
    const WIDTH: usize = 95;
    let mut text = format!("{help}\n\nDEFECTS (--defect NAME)");
    let mut column = WIDTH;
    let own = |row: &&DefectRow| row.defect.is_of_daemons() == (kind == Kind::Daemon);
    for row in crate::defect::all().filter(own) {
        let needed = row.name.len() + 2;
        if column + needed > WIDTH {
            text.push_str("\n ");
            column = 1;
        }
        text.push_str(&format!(" {},", row.name));
        column += needed;
    }
    text.truncate(text.len() - 1);
    text
}

/// How a technique failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code; 1 unless somebody has agreed on another.
    pub code: u8,
    /// Complete, for standard error.
    pub reason: String,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { code: 1, reason }
    }
}

impl Technique {
    /// The exit code.
    fn run(&self) -> Result<u8, Failure> {
        match self {
            Self::ExecInherit(Deferred(options)) => exec_inherit::run(options)?,
            Self::Takeover(Deferred(options)) => takeover::run(options)?,
            Self::ReExec(Deferred(options)) => re_exec::run(options)?,
            Self::Reuseport(Deferred(options)) => reuseport::run(options)?,
            Self::FdHandover(Deferred(options)) => fd_handover::run(options)?,
            Self::Prefork(Deferred(options)) => prefork::run(options)?,
            Self::Activated(Deferred(options)) => activated::run(options)?,
            Self::Serve(Deferred(options)) => serve::run(options)?,
            Self::Orphan(Deferred(options)) => return orphan::run(options),
            Self::Nohup(Deferred(options)) => nohup::run(options)?,
            Self::NullExit(_) => {}
            Self::NullSilent(Deferred(options)) => null::silent(options)?,
            Self::NullDeaf(Deferred(options)) => null::deaf(options)?,
            Self::NullClaim(Deferred(options)) => null::claim(options)?,
            Self::NullOldInode(Deferred(options)) => null::old_inode(options)?,
        }
        Ok(0)
    }
}

/// Becomes a reference server and never returns, if the file name in `argv[0]` ends in [`NAME`]; else returns at once.
///
/// Call it first in `main`, before any thread and any descriptor of your own.
pub fn run_if_asked() {
    let mut arguments = std::env::args_os();
    let named = arguments.next().unwrap_or_default();
    let is_asked = Path::new(&named).file_name().is_some_and(|name| name.as_bytes().ends_with(NAME.as_bytes()));
    if is_asked {
        std::process::exit(i32::from(dispatch(arguments)));
    }
}

/// Runs one technique to its end: `arguments` are its name and its options, without the program's name.
///
/// A server that starts itself again uses the arguments of the *process*, so whatever led here leads here again. Call it before any
/// thread is started. Exit codes: 0 ended as told (or help), 1 failed, with the reason on standard error, 2 usage; of `orphan`'s
/// actions also 3, 4 and 7, of `nohup` 125 to 127 (see their help).
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(dispatch(arguments))
}

fn dispatch(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let all = std::iter::once(OsString::from(NAME)).chain(arguments);
    match Cli::try_parse_from(all) {
        Ok(cli) => match cli.technique.run() {
            Ok(code) => code,
            Err(Failure { code, reason }) => {
                let _ = std::io::stderr().write_all(format!("{reason}\n").as_bytes());
                code
            }
        },
        Err(error) => {
            let _ = error.print();
            u8::try_from(error.exit_code()).unwrap_or(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_its_help_names_every_defect() {
        Cli::command().debug_assert();
        let (restarts, daemons) = (with_defects(EXEC_INHERIT, Kind::Restart), with_defects(ORPHAN, Kind::Daemon));
        for row in crate::defect::all() {
            let help = if row.defect.is_of_daemons() { &daemons } else { &restarts };
            assert!(help.contains(row.name), "{}", row.name);
        }
    }

    #[test]
    fn usage_errors_are_two_and_help_is_zero() {
        let with = |words: &[&str]| dispatch(words.iter().map(OsString::from));
        assert_eq!(with(&["no-such-technique"]), 2);
        assert_eq!(with(&["exec-inherit", "--defect", "none"]), 2);
        assert_eq!(with(&["exec-inherit", "--watch", "x", "--no-watch"]), 2);
        assert_eq!(with(&["null-exit", "--address", "127.0.0.1:0"]), 0);
        assert_eq!(with(&["exec-inherit", "--help"]), 0);
    }
}
