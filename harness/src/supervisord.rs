//! supervisord's language: the configuration it is given, and what its log says (supervisord.org, "Logging" and
//! "Subprocesses").
//!
//! Pure: running it is the business of [`crate::run`]. With `nodaemon` it writes its log to standard output, where every line
//! of it becomes part of the history like the target's own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::id::Pid;
use crate::target::Signal;

/// Name of the one program in the configuration.
pub const PROGRAM: &str = "target";

/// How long a program must live to count as running: the least that supervisord can tell from a start that failed.
pub const START_SECONDS: u32 = 1;

/// Where supervisorctl(1) finds it, in the target's own network.
pub const ADDRESS: &str = "127.0.0.1:9001";

/// What supervisord is to run, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Its command.
    pub command: &'a [String],
    /// Its working directory.
    pub directory: &'a Path,
    /// Variables beside supervisord's own.
    pub environment: &'a BTreeMap<String, String>,
    /// Its file mode creation mask.
    pub umask: u32,
    /// What tells it to stop.
    pub stop: Signal,
    /// How long it may take to stop before SIGKILL, rounded up to whole seconds.
    pub stop_wait: Duration,
    /// Where supervisord leaves its own pid, its log and its children's output.
    pub state: &'a Path,
}

/// The configuration file.
#[must_use]
pub fn configuration(unit: &Unit<'_>) -> String {
    let state = unit.state.display();
    let words: Vec<String> = unit.command.iter().map(|word| quoted(word)).collect();
    let variables: Vec<String> =
        unit.environment.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("writing to a string");
    line(format_args!(
        "[supervisord]\nnodaemon=true\nlogfile={state}/supervisord.log\npidfile={state}/supervisord.pid"
    ));
    line(format_args!("childlogdir={state}\n"));
    line(format_args!("[inet_http_server]\nport={ADDRESS}\n"));
    line(format_args!(
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    ));
    line(format_args!("[supervisorctl]\nserverurl=http://{ADDRESS}\n"));
    line(format_args!("[program:{PROGRAM}]\ncommand={}\ndirectory={}", words.join(" "), unit.directory.display()));
    line(format_args!("environment={}\numask={:03o}", variables.join(","), unit.umask));
    line(format_args!("startsecs={START_SECONDS}\nautorestart=unexpected\nexitcodes=0"));
    line(format_args!("stopsignal={}\nstopwaitsecs={}", unit.stop, unit.stop_wait.as_millis().div_ceil(1000)));
    text
}

/// In double quotes, as shlex splits it; `%` is supervisord's own.
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for character in word.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '%' => quoted.push_str("%%"),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// What it said of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It has started it.
    Spawned(Pid),
    /// It has lived for long enough.
    Running,
    /// It has ended without having been told to.
    Exited,
    /// It was told to stop, and did.
    Stopped,
    /// It did not stop in time, and was killed.
    Killed,
    /// It was started too often.
    GaveUp,
}

/// What a line of its log says of the program, if anything.
#[must_use]
pub fn said(line: &str) -> Option<Said> {
    // "2026-11-28 14:55:00,123 INFO spawned: 'target' with pid 12"
    let text = line.split_once(" INFO ").or_else(|| line.split_once(" WARN "))?.1;
    let of = |verb: &str| {
        text.strip_prefix(verb).is_some_and(|rest| rest.trim_start_matches([' ', '\'']).starts_with(PROGRAM))
    };
    if let Some(rest) = text.strip_prefix("spawned: ") {
        return rest.rsplit_once("with pid ")?.1.trim().parse().ok().map(|pid| Said::Spawned(Pid(pid)));
    }
    [
        ("success:", Said::Running),
        ("exited:", Said::Exited),
        ("stopped:", Said::Stopped),
        ("killing", Said::Killed),
        ("gave up:", Said::GaveUp),
    ]
    .into_iter()
    .find(|(verb, _)| of(verb))
    .map(|(_, said)| said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_way_through_the_configuration() {
        assert_eq!(quoted(r#"a "b" \c 100%"#), r#""a \"b\" \\c 100%%""#);
    }

    #[test]
    fn the_configuration_says_what_was_asked_for() {
        let (command, directory) = (["/bin/server".to_owned(), "--port=1".to_owned()], Path::new("/srv"));
        let environment = BTreeMap::from([("A".to_owned(), "1 2".to_owned())]);
        let unit = Unit {
            command: &command,
            directory,
            environment: &environment,
            umask: 0o22,
            stop: Signal(libc::SIGTERM),
            stop_wait: Duration::from_millis(1001),
            state: Path::new("/state"),
        };
        let text = configuration(&unit);
        for wanted in [
            "command=\"/bin/server\" \"--port=1\"\ndirectory=/srv\n",
            "environment=A=\"1 2\"\numask=022\n",
            "stopsignal=TERM\nstopwaitsecs=2\n",
            "pidfile=/state/supervisord.pid\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} in {text}");
        }
    }

    fn check(line: &str, want: Option<Said>) {
        assert_eq!(said(&format!("2026-11-28 14:55:00,123 {line}")), want, "{line}");
    }

    #[test]
    fn its_log_tells_what_became_of_the_program() {
        check("INFO spawned: 'target' with pid 12", Some(Said::Spawned(Pid(12))));
        check(
            "INFO success: target entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)",
            Some(Said::Running),
        );
        check("WARN exited: target (terminated by SIGKILL; not expected)", Some(Said::Exited));
        check("INFO exited: target (exit status 0; expected)", Some(Said::Exited));
        check("INFO stopped: target (exit status 0)", Some(Said::Stopped));
        check("WARN killing 'target' (12) with SIGKILL", Some(Said::Killed));
        check("INFO gave up: target entered FATAL state, too many start retries too quickly", Some(Said::GaveUp));
    }

    #[test]
    fn other_lines_say_nothing_of_it() {
        check("INFO supervisord started with pid 1", None);
        check("CRIT Server 'inet_http_server' running without any HTTP authentication checking", None);
        check("INFO waiting for target to stop", None);
        check("INFO stopped: another (exit status 0)", None);
    }
}
