//! Signals by name (signal(7)).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signal by its number, with its name for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub i32);

/// The standard signals of Linux in the order of signal(7); real-time signals are `RTMIN+n`.
const NAMES: [(&str, i32); 31] = [
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];

impl Signal {
    /// The names of the standard signals, without `SIG`.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The signal of this name, with or without `SIG`: "HUP", "SIGHUP", "RTMIN+3".
    #[must_use]
    pub fn named(name: &str) -> Option<Signal> {
        let name = name.strip_prefix("SIG").unwrap_or(name);
        if let Some(rest) = name.strip_prefix("RTMIN") {
            return Signal::real_time(rest);
        }
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Signal(*number))
    }

    /// "" or "+n" after "RTMIN", as far as RTMAX.
    fn real_time(offset: &str) -> Option<Signal> {
        let offset = match offset {
            "" => 0,
            _ => offset.strip_prefix('+')?.parse::<u8>().ok()?,
        };
        let number = libc::SIGRTMIN().checked_add(i32::from(offset))?;
        (number <= libc::SIGRTMAX()).then_some(Signal(number))
    }
}

/// Its name without `SIG`, or its number where it has none.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None if self.0 == libc::SIGRTMIN() => f.write_str("RTMIN"),
            None if (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&self.0) => {
                write!(f, "RTMIN+{}", self.0 - libc::SIGRTMIN())
            }
            None => self.0.fmt(f),
        }
    }
}

/// A set of signals as `/proc/PID/status` shows it: bit n-1 for signal n. In files 16 hexadecimal digits, as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// It holds this signal.
    #[must_use]
    pub fn has(self, signal: Signal) -> bool {
        (1..=64).contains(&signal.0) && self.0 & (1 << (signal.0 - 1)) != 0
    }

    /// Its signals by number.
    pub fn signals(self) -> impl Iterator<Item = Signal> {
        (1..=64).map(Signal).filter(move |signal| self.has(*signal))
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> SignalSet {
        SignalSet(signals.into_iter().fold(0, |set, Signal(number)| set | 1 << (number - 1)))
    }
}

impl TryFrom<String> for SignalSet {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<SignalSet, Self::Error> {
        u64::from_str_radix(&text, 16).map(SignalSet)
    }
}

impl From<SignalSet> for String {
    fn from(set: SignalSet) -> String {
        format!("{:016x}", set.0)
    }
}

/// Its names, "HUP, TERM"; "none".
impl fmt::Display for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.signals().map(|signal| signal.to_string()).collect();
        if names.is_empty() { f.write_str("none") } else { f.write_str(&names.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_signals_of_its_bits() {
        let set = SignalSet(0x1_4001);
        assert_eq!(set.to_string(), "HUP, TERM, CHLD");
        assert_eq!(set.signals().collect::<SignalSet>(), set);
        assert!(set.has(Signal(libc::SIGHUP)) && !set.has(Signal(libc::SIGINT)));
        assert_eq!(SignalSet::default().to_string(), "none");
        let text = serde_json::to_string(&set).expect("it is a string");
        assert_eq!(text, "\"0000000000014001\"");
        assert_eq!(serde_json::from_str::<SignalSet>(&text).expect("it was just written"), set);
    }

    #[test]
    fn a_signal_is_known_with_and_without_its_prefix() {
        assert_eq!(Signal::named("HUP"), Some(Signal(libc::SIGHUP)));
        assert_eq!(Signal::named("SIGHUP"), Some(Signal(libc::SIGHUP)));
        assert_eq!(Signal::named("hup"), None);
        assert_eq!(Signal::named(""), None);
    }

    #[test]
    fn real_time_signals_count_from_the_first() {
        assert_eq!(Signal::named("RTMIN+1"), Some(Signal(libc::SIGRTMIN() + 1)));
        assert_eq!(Signal::named("RTMIN+99"), None);
        assert_eq!(Signal::named("RTMIN1"), None);
    }

    #[test]
    fn every_name_leads_back_to_itself() {
        for name in Signal::names().chain(["RTMIN", "RTMIN+2"]) {
            assert_eq!(Signal::named(name).expect("it is in the table").to_string(), name);
        }
    }
}
