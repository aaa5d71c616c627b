//! An observer's thread.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns};

use super::account::Account;
use super::error::ObserveError;
use super::vantage::Vantage;

/// The part of an observer that runs until the stop.
pub(super) trait Watch {
    /// Observes until the stop is asked, then takes a last sample.
    fn watch(self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError>;
}

/// A running observer.
#[derive(Debug)]
#[must_use = "an observer's errors come out of its handle"]
pub struct Handle {
    observer: &'static str,
    thread: JoinHandle<Result<Account, ObserveError>>,
}

impl Handle {
    /// Which observer.
    #[must_use]
    pub fn observer(&self) -> &'static str {
        self.observer
    }

    /// Waits for its end; ask the stop first.
    ///
    /// # Errors
    /// What ended it before the stop; the history has it as a fault already.
    pub fn finish(self) -> Result<Account, ObserveError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_panic) => Err(ObserveError::Panicked { observer: self.observer }),
        }
    }
}

/// Starts an observer. Returns when `begin` has subscribed and taken the first sample on the new thread, inside the
/// network namespace.
pub(super) fn spawn<W: Watch>(
    observer: &'static str,
    vantage: Vantage,
    begin: impl FnOnce(&Vantage, &mut Account) -> Result<W, ObserveError> + Send + 'static,
) -> Result<Handle, ObserveError> {
    let (tell, told) = sync_channel(1);
    let body = move || {
        let _guard = PanicFault { observer, vantage: &vantage };
        let mut account = Account::default();
        let watch = match enter(observer, &vantage).and_then(|()| begin(&vantage, &mut account)) {
            Ok(watch) => watch,
            Err(error) => {
                // The spawner waits for this and returns it.
                let _ = tell.send(Err(error));
                return Ok(account);
            }
        };
        let _ = tell.send(Ok(()));
        let result = watch.watch(&vantage, &mut account);
        if let Err(error) = &result {
            vantage.fault(observer, error.sentence());
        }
        vantage.sink.put_at(vantage.clock.now(), account.ended(observer));
        result.map(|()| account)
    };
    let thread = thread::Builder::new()
        .name(format!("see-{observer}"))
        .spawn(body)
        .map_err(|source| ObserveError::Thread { observer, source })?;
    match told.recv() {
        Ok(Ok(())) => Ok(Handle { observer, thread }),
        Ok(Err(error)) => {
            // It is at its end; its result is the error that it told.
            let _ = thread.join();
            Err(error)
        }
        Err(_gone) => Err(ObserveError::Panicked { observer }),
    }
}

/// setns(2) of the calling thread alone.
fn enter(observer: &'static str, vantage: &Vantage) -> Result<(), ObserveError> {
    let Some(netns) = &vantage.netns else { return Ok(()) };
    setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)
        .map_err(|errno| ObserveError::Namespace { observer, source: io::Error::from(errno) })
}

/// Nobody may ever join the thread; the history tells of its panic all the same.
struct PanicFault<'a> {
    observer: &'static str,
    vantage: &'a Vantage,
}

impl Drop for PanicFault<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.vantage.fault(self.observer, "its thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::fixture::Fixture;
    use super::*;
    use crate::event::What;

    struct Broken;

    impl Watch for Broken {
        fn watch(self, _: &Vantage, _: &mut Account) -> Result<(), ObserveError> {
            Err(ObserveError::look("broken", "see")(io::Error::other("dark")))
        }
    }

    struct Panicking;

    impl Watch for Panicking {
        fn watch(self, _: &Vantage, _: &mut Account) -> Result<(), ObserveError> {
            panic!("on purpose")
        }
    }

    fn faults(fixture: &Fixture) -> Vec<String> {
        let fault = |what| if let What::ObserverFault { fault, .. } = what { Some(fault) } else { None };
        fixture.take().into_iter().filter_map(|(_, what)| fault(what)).collect()
    }

    #[test]
    fn a_broken_observer_is_seen_in_the_history_and_by_its_handle() {
        let fixture = Fixture::new(None);
        let handle = spawn("broken", fixture.vantage(), |_, _| Ok(Broken)).expect("begin");
        assert!(handle.finish().is_err());
        assert_eq!(faults(&fixture), ["failed to see for observer broken: dark"]);
    }

    #[test]
    fn a_panic_is_seen_too() {
        let fixture = Fixture::new(None);
        let handle = spawn("panicking", fixture.vantage(), |_, _| Ok(Panicking)).expect("begin");
        assert!(matches!(handle.finish(), Err(ObserveError::Panicked { .. })));
        assert_eq!(faults(&fixture), ["its thread panicked"]);
    }

    #[test]
    fn an_observer_that_cannot_begin_does_not_spawn() {
        let fixture = Fixture::new(None);
        let dark = |_: &Vantage, _: &mut Account| -> Result<Broken, ObserveError> {
            Err(ObserveError::look("broken", "begin")(io::Error::other("dark")))
        };
        assert!(matches!(spawn("broken", fixture.vantage(), dark), Err(ObserveError::Look { .. })));
    }
}
