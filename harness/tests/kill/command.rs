//! The command under test: started as a user does, its progress read line by line, ended by a signal.

use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use unbroken::wait::readable_within;

use super::walls::{COMMAND, HOME, PLACE};

/// How long the command may be silent, with others on the machine; a phase lasts a second.
const SILENCE: Duration = Duration::from_secs(120);

/// What the command is to do, and the phases of it in which it is ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Act {
    check: &'static [&'static str],
    pub(crate) phases: &'static [&'static str],
}

/// Apart, so that whoever waits for a load need not first wait for a systemd.
pub(crate) const ACTS: [Act; 3] = [
    // A start that is held in its system calls, a terminal that is closed, a socket with a name, and a systemd where there can
    // be one. Before its first line the command probes the machine.
    Act {
        check: &[
            "reference/orphan",
            "reference/exec-inherit-signal",
            "daemon/held-start",
            "daemon/hangup",
            "foreground/notify",
            "foreground/systemd",
        ],
        phases: &["probe", "sandbox", "start", "supervise", "teardown"],
    },
    Act {
        check: &["reference/exec-inherit-signal", "restart/upgrade-under-load"],
        phases: &["load", "trigger", "drain"],
    },
    // A control group of the target's own, a limit of its descriptors, a file system that is mounted for it alone, and a path to its
    // clients that has a fault.
    Act {
        check: &[
            "reference/exec-inherit-signal",
            "restart/without-processes",
            "restart/without-descriptors",
            "restart/without-disk",
            "restart/rejected-connections",
        ],
        phases: &["trigger"],
    },
];

/// A phase of the command, and when its line was read. Before the first line it probes the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) phase: String,
    pub(crate) at: Instant,
}

/// A running command.
#[derive(Debug)]
pub(crate) struct Running {
    pid: Pid,
    /// Its standard output and standard error.
    output: PipeReader,
    text: String,
    /// The phases so far; a repeated line is one phase.
    pub(crate) phases: Vec<Entered>,
}

impl Running {
    /// Starts it in a process group of its own, as a shell would.
    #[expect(clippy::zombie_processes, reason = "`reap` collects it together with the orphans")]
    pub(crate) fn start(tier: &str, act: Act) -> Running {
        let mut command = Command::new(COMMAND);
        command.arg("check").args(act.check).args([
            "--tier",
            tier,
            // One phase after the other.
            "--jobs",
            "1",
            "--progress",
            "plain",
            "--directory",
            &format!("{PLACE}/runs"),
        ]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", HOME).process_group(0);
        let (output, writer) = std::io::pipe().expect("descriptors are left");
        command.stdout(writer.try_clone().expect("descriptors are left")).stderr(writer);
        let child = command.stdin(Stdio::null()).spawn().expect("the command is executable");
        let at = Instant::now();
        Running {
            pid: Pid::from_raw(i32::try_from(child.id()).expect("pids fit an i32")),
            output,
            text: String::new(),
            phases: vec![Entered { phase: "probe".to_owned(), at }],
        }
    }

    /// Reads on until so many phases have begun; false when it closed its output before.
    pub(crate) fn await_phases(&mut self, count: usize) -> bool {
        while self.phases.len() < count {
            if !self.read() {
                return false;
            }
        }
        true
    }

    /// Reads on until it has said this, or ended.
    pub(crate) fn await_text(&mut self, text: &str) {
        while !self.text.contains(text) && self.read() {}
    }

    /// Reads to the end of its output: that of the last process that holds it.
    pub(crate) fn read_to_end(&mut self) {
        while self.read() {}
    }

    /// Everything that it said where it did not end as it should.
    pub(crate) fn said_unless(&self, as_asked: bool) -> String {
        if as_asked { String::new() } else { self.text.clone() }
    }

    /// Everything that it said.
    pub(crate) fn said(&self) -> &str {
        &self.text
    }

    /// Reads what there is, at least something; false at the end.
    fn read(&mut self) -> bool {
        assert!(
            readable_within(self.output.as_fd(), SILENCE),
            "nothing was said for {SILENCE:?} after:\n{}",
            self.text
        );
        let mut buffer = [0; 4096];
        let count = self.output.read(&mut buffer).expect("a pipe can be read");
        let before = self.text.rfind('\n').map_or(0, |at| at + 1);
        self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let end = self.text.rfind('\n').map_or(0, |at| at + 1);
        let at = Instant::now();
        for line in self.text[before..end.max(before)].lines() {
            if let Some(phase) = line.strip_prefix("phase: ")
                && self.phases.last().is_none_or(|last| last.phase != phase)
            {
                self.phases.push(Entered { phase: phase.to_owned(), at });
            }
        }
        count > 0
    }

    /// The phase that it had reached when it died, or when it took the request to end.
    pub(crate) fn phase_reached(&self) -> &str {
        let until = self.text.find("taking everything down").unwrap_or(self.text.len());
        let told = self.text[..until].lines().filter_map(|line| line.strip_prefix("phase: ")).next_back();
        told.unwrap_or("probe")
    }

    /// Sends it a signal; to its whole group as a terminal does, or to it alone.
    pub(crate) fn signal(&self, signal: Signal, group: bool) {
        // It is not reaped yet, so the number is still its own, and sending cannot fail.
        let _ = if group { killpg(self.pid, signal) } else { kill(self.pid, signal) };
    }

    /// Reaps whoever has ended, as the first process of a pid namespace must; the command's own status if it was among
    /// them.
    pub(crate) fn reap(&self) -> Option<WaitStatus> {
        let mut own = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(status) if status.pid() == Some(self.pid) => own = Some(status),
                Ok(WaitStatus::StillAlive) | Err(_) => return own,
                Ok(_) => {}
            }
        }
    }
}
