//! The environment of a daemon: what the programs that it executes will get.
//!
//! Some of what a launcher has was meant for that very process ([`ADDRESSED`]); a daemon is another one, and its children are yet
//! others. And a list that is empty is something else than no list: here nothing at all can be said.
//!
//! Nothing is executed anew, so `/proc/PID/environ` goes on showing what the *launcher* was given: the kernel shows the first
//! stack of the program. Secrets do not belong there in any case.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What a supervisor tells the process that it started: which descriptors are handed over, where to report. A daemon has closed the
/// former, and whoever else reports would be believed.
pub const ADDRESSED: [&str; 6] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// What to do with what the launcher has; in this order: all gone, some gone, some set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    cleared: bool,
    unset: Vec<OsString>,
    set: Vec<(OsString, OsString)>,
}

impl Environment {
    /// The launcher's, but for what is [`ADDRESSED`] to it.
    #[must_use]
    pub fn inherited() -> Self {
        Self::default()
    }

    /// None, until something is set.
    #[must_use]
    pub fn empty() -> Self {
        Self { cleared: true, ..Self::default() }
    }

    /// Without this variable.
    #[must_use]
    pub fn without(mut self, name: &OsStr) -> Self {
        self.unset.push(name.to_owned());
        self
    }

    /// With this variable. Of one that is set twice the last counts.
    ///
    /// # Panics
    /// At a name that execve(2) could not carry: empty, with `=`, or either of them with a NUL byte.
    #[must_use]
    pub fn with(mut self, name: &OsStr, value: &OsStr) -> Self {
        assert!(is_possible(name, value), "a name is not empty and holds neither = nor NUL, a value no NUL: {name:?}");
        self.set.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The variables that there will be, from those that there are.
    #[must_use]
    pub fn applied_to(&self, before: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
        let is_addressed = |name: &OsString| ADDRESSED.iter().any(|addressed| name == addressed);
        let stays = |name: &OsString| !self.cleared && !is_addressed(name) && !self.unset.contains(name);
        let is_set = |name: &OsString| self.set.iter().any(|(set, _)| set == name);
        let kept = before.into_iter().filter(|(name, value)| is_possible(name, value) && stays(name) && !is_set(name));
        let last =
            self.set.iter().enumerate().filter(|(at, (name, _))| self.set[at + 1..].iter().all(|it| it.0 != *name));
        kept.chain(last.map(|(_, pair)| pair.clone())).collect()
    }

    /// Makes it this process's. Call it before the first thread.
    pub(crate) fn apply(&self) {
        let after = self.applied_to(std::env::vars_os());
        // clearenv(3) also drops what setenv(3) would refuse, and execve(2) handed over all the same.
        // SAFETY: there is no other thread that could read the environment at the same time (documented above, and counted by
        // `become_daemon`).
        unsafe {
            libc::clearenv();
            after.iter().for_each(|(name, value)| std::env::set_var(name, value));
        }
    }
}

/// NAME=VALUE, as on a command line; the reason why not.
///
/// # Errors
/// Without `=`, or without a name before it.
pub fn parse(text: &str) -> Result<(OsString, OsString), String> {
    match text.split_once('=') {
        Some((name, value)) if is_possible(name.as_ref(), value.as_ref()) => Ok((name.into(), value.into())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

fn is_possible(name: &OsStr, value: &OsStr) -> bool {
    let (name, value) = (name.as_bytes(), value.as_bytes());
    !name.is_empty() && !name.contains(&b'=') && !name.contains(&0) && !value.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        text.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn the_launchers_is_kept_changed_or_dropped() {
        let check = |environment: Environment, want: &[(&str, &str)]| {
            let before = pairs(&[("HOME", "/root"), ("LISTEN_FDS", "1"), ("NOTIFY_SOCKET", "@x"), ("PATH", "/bin")]);
            assert_eq!(environment.applied_to(before), pairs(want), "{environment:?}");
        };
        let (inherited, empty) = (Environment::inherited, Environment::empty);
        let [home, path, value] = ["HOME", "PATH", "/sbin"].map(OsStr::new);
        check(inherited(), &[("HOME", "/root"), ("PATH", "/bin")]);
        check(inherited().without(home), &[("PATH", "/bin")]);
        check(inherited().without(path).with(path, value), &[("HOME", "/root"), ("PATH", "/sbin")]);
        check(inherited().without(home).with(ADDRESSED[1].as_ref(), home), &[("PATH", "/bin"), ("LISTEN_FDS", "HOME")]);
        check(empty(), &[]);
        check(empty().with(path, value).with(path, OsStr::new("")), &[("PATH", "")]);
    }

    #[test]
    fn a_command_lines_variable_has_a_name() {
        assert_eq!(parse("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(parse("A="), Ok(("A".into(), "".into())));
        for wrong in ["A", "=b", "", "A=\0"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
