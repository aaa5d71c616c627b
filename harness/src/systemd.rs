//! systemd's language: the units it is given, and what `systemctl show` says (systemd.unit(5), systemctl(1)).
//!
//! Pure: booting it is the business of [`crate::sandbox`], driving it that of [`crate::run`].

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::target::Signal;

/// The unit that runs the target.
pub const SERVICE: &str = "target.service";

/// What `systemctl show` is asked for.
pub const PROPERTIES: [&str; 6] = ["ActiveState", "SubState", "MainPID", "NRestarts", "Result", "StatusText"];

/// The service as systemd is to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service<'a> {
    /// Its command.
    pub command: &'a [String],
    /// Its working directory.
    pub directory: &'a Path,
    /// Its variables.
    pub environment: &'a BTreeMap<String, String>,
    /// Its file mode creation mask.
    pub umask: u32,
    /// What tells it to stop.
    pub stop: Signal,
    /// Where its output goes.
    pub output: &'a Path,
    /// Lines of `[Service]` beyond these, such as `Type=notify`.
    pub settings: &'a [String],
}

/// Every unit by its name: the service, started at boot, and the targets that systemd cannot do without.
#[must_use]
pub fn units(service: &Service<'_>) -> BTreeMap<String, String> {
    let bare = || "[Unit]\nDefaultDependencies=no\n".to_owned();
    let mut units: BTreeMap<String, String> = ["sysinit", "sockets", "shutdown", "umount"]
        .into_iter()
        .map(|name| (format!("{name}.target"), bare()))
        .collect();
    let boot = format!(
        "{}Requires=sysinit.target\nWants=sockets.target {SERVICE}\nAfter=sysinit.target sockets.target\n",
        bare()
    );
    units.insert("basic.target".to_owned(), boot);
    units.insert(SERVICE.to_owned(), text(service));
    units
}

fn text(service: &Service<'_>) -> String {
    let command: Vec<String> = service.command.iter().map(|word| quoted(word, true)).collect();
    let mut text = String::from("[Unit]\nDefaultDependencies=no\nAfter=sysinit.target\n\n[Service]\n");
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("writing to a string");
    line(format_args!("ExecStart={}", command.join(" ")));
    line(format_args!("WorkingDirectory={}", service.directory.display()));
    for (name, value) in service.environment {
        line(format_args!("Environment={}", quoted(&format!("{name}={value}"), false)));
    }
    line(format_args!("UMask={:04o}\nKillSignal=SIG{}", service.umask, service.stop));
    for stream in ["Output", "Error"] {
        line(format_args!("Standard{stream}=append:{}", service.output.display()));
    }
    for setting in service.settings {
        line(format_args!("{setting}"));
    }
    text
}

/// In double quotes; `%` is systemd's own, and in a command `$` too (systemd.service(5), "Command lines").
fn quoted(word: &str, command: bool) -> String {
    let mut quoted = String::from("\"");
    for character in word.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '%' => quoted.push_str("%%"),
            '$' if command => quoted.push_str("$$"),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// What `systemctl show` printed: `Name=value` in lines.
#[must_use]
pub fn properties(shown: &str) -> BTreeMap<String, String> {
    let pairs = shown.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_way_through_a_unit() {
        assert_eq!(quoted(r#"a "b" \c 100% $x"#, true), r#""a \"b\" \\c 100%% $$x""#);
        assert_eq!(quoted("A=$x", false), "\"A=$x\"");
    }

    #[test]
    fn the_service_says_what_was_asked_for_and_starts_at_boot() {
        let command = ["/bin/server".to_owned(), "--port=1".to_owned()];
        let environment = BTreeMap::from([("A".to_owned(), "1 2".to_owned())]);
        let service = Service {
            command: &command,
            directory: Path::new("/srv"),
            environment: &environment,
            umask: 0o22,
            stop: Signal(libc::SIGTERM),
            output: Path::new("/log"),
            settings: &["Type=notify".to_owned()],
        };
        let units = units(&service);
        for wanted in [
            "ExecStart=\"/bin/server\" \"--port=1\"\nWorkingDirectory=/srv\nEnvironment=\"A=1 2\"\n",
            "UMask=0022\nKillSignal=SIGTERM\n",
            "StandardOutput=append:/log\nStandardError=append:/log\nType=notify\n",
        ] {
            assert!(units[SERVICE].contains(wanted), "{wanted:?} in {}", units[SERVICE]);
        }
        assert!(units["basic.target"].contains("Wants=sockets.target target.service\n"));
    }

    #[test]
    fn properties_are_read_as_they_are_shown() {
        let shown = properties("ActiveState=active\nStatusText=a=b\n\n");
        assert_eq!(shown["ActiveState"], "active");
        assert_eq!(shown["StatusText"], "a=b");
        assert_eq!(shown.len(), 2);
    }
}
