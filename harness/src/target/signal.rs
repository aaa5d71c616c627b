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

#[cfg(test)]
mod tests {
    use super::*;

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
