//! A log while numbered requests are written to it: renamed and opened anew by the target, and through an upgrade.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::{LogPortrait, LogWriter, What};
use crate::id::Pid;
use crate::ready::{self, Probe};
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::target::TargetEndpoint;

/// Requests before the renaming, between it and the order to open anew, and after it.
const REQUESTS: u32 = 10;

/// Opening a file anew is one system call; whoever has not after this does not.
const REOPEN_LIMIT: Duration = Duration::from_secs(2);

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// What stands before the number in a request's path.
const MARK: &str = "unbroken-line=";

/// Sends numbered requests.
struct Numbered {
    netns: Option<OwnedFd>,
    endpoint: TargetEndpoint,
    /// The endpoint's path up to the number.
    path: String,
    last: u32,
    answered: Vec<u32>,
}

impl Numbered {
    fn ask(&mut self, requests: u32) {
        for _ in 0..requests {
            self.last += 1;
            self.endpoint.path = format!("{}{}", self.path, self.last);
            let netns = self.netns.as_ref().map(AsFd::as_fd);
            if let Ok(Probe::Answered { .. }) = ready::answers(netns, &self.endpoint, ANSWER_LIMIT) {
                self.answered.push(self.last);
            }
        }
    }
}

impl Stage<'_> {
    /// Renames the log and tells the target to open it anew.
    pub(super) fn rotate(&mut self) -> Result<(), RunError> {
        let Some(log) = self.plan.target.log.clone() else { return Ok(()) };
        let path = PathBuf::from(log.path.fill(&self.placeholders()));
        let moved = PathBuf::from(format!("{}.1", path.display()));
        let mut numbered = self.numbered()?;
        self.portray_log(&path)?;
        numbered.ask(REQUESTS);
        if let Err(error) = fs::rename(&path, &moved) {
            self.action_failed("rename the log", &error.to_string());
            return Ok(());
        }
        self.logs = vec![moved, path.clone()];
        // To the moved file: nobody knows of it yet.
        numbered.ask(REQUESTS);
        let told = self.main.as_ref().map(|main| main.pidfd.send_signal(log.reopen));
        if !matches!(told, Some(Ok(()))) {
            self.action_failed("tell it to open its log anew", "no main process lives");
        }
        // One after the other without a pause: some meet the moment itself.
        let reopened = self.within(REOPEN_LIMIT, || {
            numbered.ask(1);
            yes(self.writers(&path).is_ok_and(|it| !it.is_empty()))
        })?;
        numbered.ask(REQUESTS);
        self.sink.put_at(self.clock.now(), What::LogRotated { reopened, answered: numbered.answered });
        self.portray_log(&path)
    }

    /// One upgrade until the old generation is gone, and numbered requests before it, all the time, and after it.
    pub(super) fn upgrade_logged(&mut self) -> Result<(), RunError> {
        let Some(log) = &self.plan.target.log else { return Ok(()) };
        self.logs = vec![log.path.fill(&self.placeholders()).into()];
        let mut numbered = self.numbered()?;
        numbered.ask(REQUESTS);
        self.upgrade_while(|| {
            numbered.ask(1);
            Ok(())
        })?;
        numbered.ask(REQUESTS);
        self.sink.put_at(self.clock.now(), What::LogSpanned { answered: numbered.answered });
        Ok(())
    }

    /// Tells what the logs of numbered requests hold after the stop.
    pub(super) fn read_logs(&mut self) -> Result<(), RunError> {
        for path in std::mem::take(&mut self.logs) {
            // A file that is not there has no lines.
            let content = fs::read(&path).unwrap_or_default();
            let numbers = numbers(&String::from_utf8_lossy(&content));
            self.sink.put_at(self.clock.now(), What::LogRead { path: path.display().to_string(), numbers });
        }
        Ok(())
    }

    fn numbered(&self) -> Result<Numbered, RunError> {
        let netns = self.clients_netns().map(|it| it.try_clone_to_owned()).transpose()?;
        let endpoint = self.plan.target.endpoints[0].clone();
        let joint = if endpoint.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{joint}{MARK}", endpoint.path);
        Ok(Numbered { netns, endpoint, path, last: 0, answered: Vec::new() })
    }

    fn portray_log(&self, path: &Path) -> Result<(), RunError> {
        let mode = fs::metadata(path).ok().map(|it| it.permissions().mode() & 0o7777);
        let portrait = LogPortrait { path: path.display().to_string(), mode, writers: self.writers(path)? };
        self.sink.put_at(self.clock.now(), What::LogSeen(portrait));
        Ok(())
    }

    /// The descriptors of the target through which this file can be written.
    fn writers(&self, path: &Path) -> Result<Vec<LogWriter>, RunError> {
        let Ok(real) = fs::canonicalize(path) else { return Ok(Vec::new()) };
        let procfs = self.sandbox.procfs();
        let mut writers = Vec::new();
        for stat in procfs.scan()?.into_iter().filter(|stat| !stat.is_dead()) {
            let pid: Pid = stat.image.pid;
            for it in procfs.descriptors(pid)?.into_iter().filter(|it| Path::new(&it.link) == real) {
                let info = procfs.read(&format!("{pid}/fdinfo/{}", it.number))?.unwrap_or_default();
                let flags = flags(&String::from_utf8_lossy(&info)).filter(|it| it & libc::O_ACCMODE != libc::O_RDONLY);
                let writer = |flags| LogWriter { pid, number: it.number, append: flags & libc::O_APPEND != 0 };
                writers.extend(flags.map(writer));
            }
        }
        Ok(writers)
    }
}

/// The flags of an open file description (proc_pid_fdinfo(5)), which are octal.
fn flags(fdinfo: &str) -> Option<i32> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"))?;
    i32::from_str_radix(line.trim(), 8).ok()
}

/// The numbers of our requests in a log, in its order.
fn numbers(log: &str) -> Vec<u32> {
    let number = |rest: &str| rest.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok();
    log.split(MARK).skip(1).filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_anywhere_in_a_line() {
        let log = "GET /?unbroken-line=1 HTTP/1.1\ndaemon log opened anew\n\"GET /?a=b&unbroken-line=12\" 200\nunbroken-line=";
        assert_eq!(numbers(log), [1, 12]);
    }

    #[test]
    fn flags_are_octal() {
        assert_eq!(flags("pos:\t0\nflags:\t0102001\nmnt_id:\t25\n"), Some(libc::O_APPEND | libc::O_WRONLY | 0o100_000));
        assert_eq!(flags("pos:\t0\n"), None);
    }
}
