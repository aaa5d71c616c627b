//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.
//!
//! The two signals are blocked in the calling thread before any other thread exists, so that all inherit the mask, and
//! one thread reads them from a signalfd(2). Their dispositions stay the default ones: whoever started the command
//! sees in the end that it died of the signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::{fs, io, thread};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::failure::Failure;
use super::output::tell;
use crate::wait::Stop;

/// The signals that ask a command to end.
const SIGNALS: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];

/// Watches for the signals from its making on.
#[derive(Debug)]
pub(super) struct Interrupt {
    stop: Stop,
    /// The signal that came, 0 before.
    came: Arc<AtomicI32>,
}

impl Interrupt {
    /// Begins to watch. Call it when no other thread runs yet, and after everything that must come before the first
    /// thread (unshare(2) of the user namespace).
    pub(super) fn watch() -> Result<Interrupt, Failure> {
        let failed = |source: io::Error| Failure::environment("watch for SIGINT and SIGTERM", source);
        let stop = Stop::new().map_err(failed)?;
        let came = Arc::new(AtomicI32::new(0));
        let interrupt = Interrupt { stop: stop.clone(), came: Arc::clone(&came) };
        let ignored = ignored(&fs::read_to_string("/proc/self/status").map_err(failed)?);
        let mut mask = SigSet::empty();
        // A signal that our parent had us ignore (a shell's background job) stays ignored: blocked it would arrive.
        SIGNALS.into_iter().filter(|signal| ignored & bit(*signal) == 0).for_each(|signal| mask.add(signal));
        mask.thread_block().map_err(|errno| failed(errno.into()))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        // It waits for signals as long as the process lives; nobody joins it.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || listen(&signals, &stop, &came))
            .map_err(failed)?;
        Ok(interrupt)
    }

    /// Asked from the first signal on.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Ends the process by the signal that came, if one did. Everything must be taken down by now.
    pub(super) fn end_if_asked(&self) {
        let number = self.came.load(Ordering::Acquire);
        if let Ok(signal) = Signal::try_from(number) {
            tell(&format!("unbroken: ended by {signal}: what had been started is taken down\n"));
            end_by(signal);
        }
    }
}

fn listen(signals: &SignalFd, stop: &Stop, came: &AtomicI32) {
    loop {
        let signal = match signals.read_signal() {
            Ok(Some(information)) => i32::try_from(information.ssi_signo).ok().and_then(|it| Signal::try_from(it).ok()),
            Ok(None) | Err(Errno::EINTR) => continue,
            // signalfd(2) names no other error for a valid descriptor; without it the next signal stays pending.
            Err(_) => return,
        };
        let Some(signal) = signal else { continue };
        if came.swap(signal as i32, Ordering::AcqRel) != 0 {
            end_by(signal);
        }
        stop.ask();
        tell(&format!("unbroken: {signal}: taking everything down; once more ends at once\n"));
    }
}

/// Dies of the signal, whose disposition is the default one.
fn end_by(signal: Signal) {
    let mut mask = SigSet::empty();
    mask.add(signal);
    // Neither can fail for a signal that exists.
    let _ = mask.thread_unblock();
    let _ = raise(signal);
}

/// The mask of ignored signals in the text of `/proc/self/status` (proc(5)); signal n is bit n - 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or_default()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status_of_the_process() {
        let mask = ignored("Name:\tx\nSigIgn:\t0000000000001002\nSigCgt:\t0\n");
        assert_ne!(mask & bit(Signal::SIGINT), 0);
        assert_ne!(mask & bit(Signal::SIGPIPE), 0);
        assert_eq!(mask & bit(Signal::SIGTERM), 0);
    }
}
