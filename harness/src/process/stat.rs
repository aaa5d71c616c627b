//! One process as `/proc/PID/stat` describes it (proc_pid_stat(5)).

use thiserror::Error;

use crate::id::{Image, Pid};

/// A process at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Which program in which process.
    pub image: Image,
    /// Parent, as its pid namespace sees it; 0 when the parent is outside.
    pub ppid: Pid,
    /// Process group.
    pub pgrp: Pid,
    /// Session.
    pub session: Pid,
    /// Controlling terminal's device number, 0 for none.
    pub tty: i32,
    /// State letter: R, S, D, T, t, Z, X, I.
    pub state: char,
    /// It is in exit(2), from which nobody returns (PF_EXITING of field 9, `include/linux/sched.h`): the kernel closes its
    /// descriptors, which on a busy machine may take half a second, and then makes it a zombie.
    pub exiting: bool,
    /// Threads that have not ended; a process whose first thread is a zombie may have others.
    pub threads: u32,
    /// Command name (`comm`, at most 15 bytes; anything may be in it), lossily decoded.
    pub name: String,
}

/// The kernel's line is not as documented.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("understand a line of /proc/PID/stat: {0}")]
pub struct StatError(
    /// The line.
    pub String,
);

/// A flag of the kernel's task structure.
const PF_EXITING: u32 = 0x4;

impl Stat {
    /// Ended: a zombie (Z) or being removed (X), with all its threads. The state is its first thread's alone: until the last one has ended
    /// all descriptors of the process are open, sockets among them.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }

    /// Reads the line. The name stands in parentheses and may itself hold any byte, parentheses and line ends too: it
    /// ends at the *last* closing one, since everything after it is a letter and numbers.
    ///
    /// # Errors
    /// When the line is not as documented.
    pub fn parse(line: &[u8]) -> Result<Stat, StatError> {
        Stat::fields(line).ok_or_else(|| StatError(String::from_utf8_lossy(line).into_owned()))
    }

    fn fields(line: &[u8]) -> Option<Stat> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(&line[..open]).ok()?.trim_end().parse().ok()?;
        let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        let mut rest = std::str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace();
        let mut letters = rest.next()?.chars();
        let (state, None) = (letters.next()?, letters.next()) else { return None };
        let mut number = || rest.next()?.parse::<i32>().ok();
        let (ppid, pgrp, session, tty) = (Pid(number()?), Pid(number()?), Pid(number()?), number()?);
        // Fields are counted from 1 in proc(5); eight follows tty_nr (7).
        let flags: u32 = rest.nth(9 - 8)?.parse().ok()?;
        let threads = rest.nth(20 - 10)?.parse().ok()?;
        let start_ticks = rest.nth(22 - 21)?.parse().ok()?;
        let start_code: u64 = rest.nth(26 - 23)?.parse().ok()?;
        let start_stack = rest.nth(28 - 27)?.parse().ok()?;
        // In the middle of execve(2) the new stack may be known before the new code: no image yet.
        let start_stack = if start_code == 0 { 0 } else { start_stack };
        let image = Image { pid: Pid(pid), start_ticks, start_stack };
        let exiting = flags & PF_EXITING != 0;
        Some(Stat { image, ppid, pgrp, session, tty, state, exiting, threads, name })
    }
}

/// For how many clock ticks a process has run, and those of its children that have ended and were waited for, with theirs (fields 14 to
/// 17). No part of [`Stat`]: two looks at a process that runs would never be equal.
pub(super) fn ticks(line: &[u8]) -> Option<(u64, u64)> {
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let mut rest = std::str::from_utf8(line.get(close + 1..)?).ok()?.split_ascii_whitespace();
    // What follows the name is the third field.
    let mut field = |skipped: usize| rest.nth(skipped)?.parse::<u64>().ok();
    Some((field(14 - 3)? + field(0)?, field(0)? + field(0)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAIL: &str = "S 1 12 13 34816 12 4194560 86 0 0 0 1 2 3 4 20 0 1 0 12345 2650112 257 18446744073709551615 \
                        94 95 140736 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    fn line(name: &[u8]) -> Vec<u8> {
        [b"12 (", name, b") ", TAIL.as_bytes()].concat()
    }

    #[test]
    fn fields_are_taken_by_their_number() {
        let image = Image { pid: Pid(12), start_ticks: 12345, start_stack: 140_736 };
        let want = Stat {
            image,
            ppid: Pid(1),
            pgrp: Pid(12),
            session: Pid(13),
            tty: 34816,
            state: 'S',
            exiting: false,
            threads: 1,
            name: "sh".to_owned(),
        };
        assert_eq!(Stat::parse(&line(b"sh")), Ok(want));
    }

    #[test]
    fn the_time_of_children_is_told_apart() {
        assert_eq!(ticks(&line(b"a) S 9 (b")), Some((3, 7)));
        assert_eq!(ticks(b"12 (sh) S 1"), None);
    }

    #[test]
    fn a_process_in_exit_is_told_by_its_flag() {
        let leaving = String::from_utf8(line(b"sh")).expect("it is text").replace(" 4194560 ", " 4194564 ");
        assert!(Stat::parse(leaving.as_bytes()).expect("as documented").exiting);
    }

    #[test]
    fn a_process_is_dead_when_its_last_thread_is() {
        let with = |threads: &str| {
            let line = String::from_utf8(line(b"sh")).expect("it is text").replacen(") S ", ") Z ", 1);
            Stat::parse(line.replace(" 20 0 1 0 ", &format!(" 20 0 {threads} 0 ")).as_bytes()).expect("as documented")
        };
        assert!(!with("2").is_dead());
        assert!(with("1").is_dead());
        assert!(with("0").is_dead());
    }

    #[test]
    fn a_name_that_imitates_the_line_is_only_a_name() {
        let stat = Stat::parse(&line(b"a) R 7 (b")).expect("any name is allowed");
        assert_eq!((stat.name.as_str(), stat.ppid), ("a) R 7 (b", Pid(1)));
    }

    #[test]
    fn the_kernels_own_line_of_this_process_is_understood() {
        let own = std::fs::read("/proc/self/stat").expect("/proc is mounted");
        let stat = Stat::parse(&own).expect("this kernel writes it as documented");
        assert_eq!(stat.image.pid, Pid(std::process::id() as i32));
        assert!(!stat.is_dead() && stat.image.start_stack != 0);
    }

    proptest! {
        #[test]
        fn any_name_is_read_back(name in proptest::collection::vec(any::<u8>(), 0..16)) {
            let stat = Stat::parse(&line(&name)).expect("any name is allowed");
            prop_assert_eq!(stat.name, String::from_utf8_lossy(&name).into_owned());
            prop_assert_eq!(stat.image.start_ticks, 12345);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&bytes);
        }

        #[test]
        fn a_line_cut_short_is_an_error(length in 0usize..90) {
            prop_assert!(Stat::parse(&line(b"sh")[..length]).is_err());
        }
    }
}
