//! A process, or one of its threads, as its `status` file describes it (proc_pid_status(5)).

use crate::target::SignalSet;

/// What is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// It waits for something: state S. Neither running nor waiting for a disk.
    pub sleeps: bool,
    /// The file mode creation mask of its process; absent before Linux 4.7.
    pub umask: Option<u32>,
    /// The signals that this thread blocks.
    pub blocked: SignalSet,
    /// The signals that its process ignores.
    pub ignored: SignalSet,
    /// The signals that its process handles by a function.
    pub caught: SignalSet,
}

impl Status {
    /// Reads the file. A name with a line end in it is escaped there, so that each field has its line.
    #[must_use]
    pub fn parse(text: &[u8]) -> Status {
        let text = String::from_utf8_lossy(text);
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        let set = |name| field(name).and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(SignalSet);
        Status {
            sleeps: field("State").is_some_and(|state| state.starts_with('S')),
            umask: field("Umask").and_then(|digits| u32::from_str_radix(digits, 8).ok()),
            blocked: set("SigBlk").unwrap_or_default(),
            ignored: set("SigIgn").unwrap_or_default(),
            caught: set("SigCgt").unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_the_names_of_its_fields() {
        let text = b"Name:\tUmask:\\n\nUmask:\t0027\nState:\tS (sleeping)\nSigBlk:\t0000000000010001\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000002\n";
        let (blocked, ignored, caught) = (SignalSet(0x10001), SignalSet(0x1000), SignalSet(2));
        let want = Status { sleeps: true, umask: Some(0o27), blocked, ignored, caught };
        assert_eq!(Status::parse(text), want);
        assert_eq!(Status::parse(b""), Status::default());
        assert!(!Status::parse(b"State:\tR (running)\n").sleeps);
    }
}
