//! A process, or one of its threads, as its `status` file describes it (proc_pid_status(5)).

use crate::event::Identity;
use crate::target::SignalSet;

/// What is read of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// It waits for something: state S. Neither running nor waiting for a disk.
    pub sleeps: bool,
    /// The file mode creation mask of its process; absent before Linux 4.7.
    pub umask: Option<u32>,
    /// Whose it is.
    pub identity: Option<Identity>,
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
        let numbers = |name| -> Option<Vec<u32>> {
            field(name)?.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
        };
        let four = |name| numbers(name).and_then(|it| <[u32; 4]>::try_from(it).ok());
        let identity =
            || Some(Identity { users: four("Uid")?, groups: four("Gid")?, supplementary: numbers("Groups")? });
        Status {
            sleeps: field("State").is_some_and(|state| state.starts_with('S')),
            umask: field("Umask").and_then(|digits| u32::from_str_radix(digits, 8).ok()),
            identity: identity(),
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
        let text = b"Name:\tUmask:\\n\nUmask:\t0027\nState:\tS (sleeping)\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t5 9 \nSigBlk:\t0000000000010001\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000002\n";
        let (blocked, ignored, caught) = (SignalSet(0x10001), SignalSet(0x1000), SignalSet(2));
        let identity = Some(Identity { users: [1, 2, 3, 4], groups: [5, 6, 7, 8], supplementary: vec![5, 9] });
        let want = Status { sleeps: true, umask: Some(0o27), identity, blocked, ignored, caught };
        assert_eq!(Status::parse(text), want);
        assert_eq!(Status::parse(b""), Status::default());
        let alone = Status::parse(b"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t \n").identity.expect("it is whole");
        assert_eq!(alone, Identity { users: [0; 4], groups: [0; 4], supplementary: Vec::new() });
        assert!(!Status::parse(b"State:\tR (running)\n").sleeps);
    }
}
