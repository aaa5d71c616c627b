//! systemd's language: the units it is given, and what `systemctl show` says (systemd.unit(5), systemctl(1)).
//!
//! Pure: booting it is the business of [`crate::sandbox`], driving it that of [`crate::run`].

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::target::Signal;

/// The unit that runs the target.
pub const SERVICE: &str = "target.service";

/// The unit that holds its address, where systemd does.
pub const SOCKET: &str = "target.socket";

/// A unit with the same limits that prints what it got, and where it prints that.
pub const LIMITS: &str = "limits.service";

/// What systemd starts at boot.
const BOOT: &str = "multi-user.target";

/// What `systemctl show` is asked for.
pub const PROPERTIES: [&str; 27] = [
    "ActiveState",
    "SubState",
    "MainPID",
    "NRestarts",
    "Result",
    "StatusText",
    "ActiveEnterTimestampMonotonic",
    "NFileDescriptorStore",
    "WatchdogUSec",
    "WatchdogTimestampMonotonic",
    "Type",
    "TimeoutStartUSec",
    "LimitNOFILE",
    "LimitNPROC",
    "LimitCORE",
    "TasksMax",
    "Delegate",
    "KillMode",
    "Restart",
    "StartLimitBurst",
    "StartLimitIntervalUSec",
    "Requires",
    "Wants",
    "After",
    "WantedBy",
    "TriggeredBy",
    "CanReload",
];

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
    /// Lines beyond these, such as `Type=notify`: of `[Service]` until one names another section.
    pub settings: &'a [String],
    /// The address that systemd holds for it.
    pub socket: Option<SocketAddr>,
    /// Where [`LIMITS`] prints.
    pub limits: &'a Path,
}

/// Every unit by its name: the service, what belongs to it, and the targets that systemd cannot do without, or that a unit of
/// a whole machine names.
#[must_use]
pub fn units(service: &Service<'_>) -> BTreeMap<String, String> {
    let bare = || "[Unit]\nDefaultDependencies=no\n".to_owned();
    let mut units: BTreeMap<String, String> = ["sysinit", "sockets", "shutdown", "umount", "network-online"]
        .into_iter()
        .map(|name| (format!("{name}.target"), bare()))
        .collect();
    let ordered = |before: &str| format!("{}Requires={before}\nAfter={before}\n", bare());
    units.insert("basic.target".to_owned(), ordered("sysinit.target sockets.target"));
    units.insert(BOOT.to_owned(), ordered("basic.target"));
    units.insert(SERVICE.to_owned(), text(service));
    units.insert(LIMITS.to_owned(), limits(service));
    if let Some(address) = service.socket {
        units.insert(SOCKET.to_owned(), format!("{}\n[Socket]\nListenStream={address}\n", bare()));
    }
    units
}

/// The targets that start the service: those that its `[Install]` names, as `systemctl enable` reads it.
#[must_use]
pub fn wanted_by<'a>(service: &Service<'a>) -> Vec<&'a str> {
    let install = sections(service.settings).remove("Install").unwrap_or_default();
    let named = install.iter().filter_map(|line| line.strip_prefix("WantedBy=")).flat_map(str::split_ascii_whitespace);
    let named: Vec<&str> = named.collect();
    if named.is_empty() { vec![BOOT] } else { named }
}

fn text(service: &Service<'_>) -> String {
    let command: Vec<String> = service.command.iter().map(|word| quoted(word, true)).collect();
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("writing to a string");
    let mut sections = sections(service.settings);
    let mut section = |name: &str| sections.remove(name).unwrap_or_default();
    line(format_args!("[Unit]\nDefaultDependencies=no\nAfter=sysinit.target"));
    section("Unit").iter().for_each(|setting| line(format_args!("{setting}")));
    line(format_args!("\n[Service]\nExecStart={}", command.join(" ")));
    line(format_args!("WorkingDirectory={}", service.directory.display()));
    for (name, value) in service.environment {
        line(format_args!("Environment={}", quoted(&format!("{name}={value}"), false)));
    }
    line(format_args!("UMask={:04o}\nKillSignal=SIG{}", service.umask, service.stop));
    for stream in ["Output", "Error"] {
        line(format_args!("Standard{stream}=append:{}", service.output.display()));
    }
    section("Service").iter().for_each(|setting| line(format_args!("{setting}")));
    line(format_args!("\n[Install]\nWantedBy={}", wanted_by(service).join(" ")));
    text
}

/// Prints the limits of a process that changes none.
fn limits(service: &Service<'_>) -> String {
    let mut text = String::from("[Unit]\nDefaultDependencies=no\n\n[Service]\nType=oneshot\n");
    let given = sections(service.settings).remove("Service").unwrap_or_default();
    given.iter().filter(|line| line.starts_with("Limit")).for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    let _ =
        writeln!(text, "ExecStart=/bin/cat /proc/self/limits\nStandardOutput=truncate:{}", service.limits.display());
    text
}

/// The lines of each section.
fn sections(settings: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "Service";
    for line in settings {
        match line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            Some(next) => name = next,
            None => sections.entry(name).or_default().push(line),
        }
    }
    sections
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
            settings: &["Type=notify", "LimitCORE=0", "[Unit]", "After=target.socket"].map(str::to_owned),
            socket: Some("127.0.0.1:80".parse().expect("an address")),
            limits: Path::new("/limits"),
        };
        let units = units(&service);
        for wanted in [
            "ExecStart=\"/bin/server\" \"--port=1\"\nWorkingDirectory=/srv\nEnvironment=\"A=1 2\"\n",
            "UMask=0022\nKillSignal=SIGTERM\n",
            "StandardOutput=append:/log\nStandardError=append:/log\nType=notify\nLimitCORE=0\n",
            "After=sysinit.target\nAfter=target.socket\n\n[Service]\n",
            "[Install]\nWantedBy=multi-user.target\n",
        ] {
            assert!(units[SERVICE].contains(wanted), "{wanted:?} in {}", units[SERVICE]);
        }
        assert!(units[SOCKET].contains("[Socket]\nListenStream=127.0.0.1:80\n"));
        assert!(units[LIMITS].contains("LimitCORE=0\nExecStart=/bin/cat /proc/self/limits\n"));
        assert!(!units[LIMITS].contains("Type=notify"));
    }

    #[test]
    fn lines_belong_to_the_section_that_was_named_last() {
        let settings = ["Type=notify", "[Install]", "WantedBy=a.target b.target", "[Service]", "KillMode=process"];
        let settings = settings.map(str::to_owned);
        let sections = sections(&settings);
        assert_eq!(sections["Service"], ["Type=notify", "KillMode=process"]);
        assert_eq!(sections["Install"], ["WantedBy=a.target b.target"]);
    }

    #[test]
    fn properties_are_read_as_they_are_shown() {
        let shown = properties("ActiveState=active\nStatusText=a=b\n\n");
        assert_eq!(shown["ActiveState"], "active");
        assert_eq!(shown["StatusText"], "a=b");
        assert_eq!(shown.len(), 2);
    }
}
