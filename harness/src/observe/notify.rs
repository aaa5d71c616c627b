//! Takes what the target tells its supervisor: messages (sd_notify(3)), or a newline on a descriptor (s6).

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::account::Account;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::vantage::Vantage;
use crate::clock::Interval;
use crate::event::What;
use crate::kernel::notify::{Notification, NotifySocket};
use crate::wait::ready_within;

const NAME: &str = "notify";
/// Nothing is polled: an hour only bounds one wait, after which it waits again.
const IDLE: Duration = Duration::from_secs(3600);

/// The messages so far, each as its fields.
#[derive(Debug, Clone, Default)]
pub struct Notified(Arc<Mutex<Vec<Vec<String>>>>);

impl Notified {
    /// Whether a message without any field has come, later than the first `from` ones.
    #[must_use]
    pub fn ended(&self, from: usize) -> bool {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().skip(from).any(Vec::is_empty)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// After how many messages this field has come, later than the first `from` ones; `None` when it has not.
    #[must_use]
    pub fn said(&self, field: &str, from: usize) -> Option<usize> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let with = |fields: &Vec<String>| fields.iter().any(|it| it == field);
        messages.iter().skip(from).position(with).map(|at| from + at + 1)
    }

    fn push(&self, fields: Vec<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fields);
    }
}

/// Observer of a notification socket.
#[derive(Debug)]
pub struct NotifyObserver;

impl NotifyObserver {
    /// Starts it.
    ///
    /// # Errors
    /// When its thread cannot be had.
    pub fn spawn(socket: NotifySocket, vantage: Vantage) -> Result<(Notified, Handle), ObserveError> {
        let notified = Notified::default();
        let told = notified.clone();
        let handle = spawn(NAME, vantage, move |_, _| Ok(NotifyWatch { socket, told, manner: Manner::Fields }))?;
        Ok((notified, handle))
    }
}

/// Observer of the descriptor on which a target says that it is ready.
#[derive(Debug)]
pub struct NewlineObserver;

impl NewlineObserver {
    /// Starts it on our end of a pair. A newline counts as a message with the field `\n`, the end as one with none; after
    /// that it ends.
    ///
    /// # Errors
    /// When its thread cannot be had.
    pub fn spawn(socket: NotifySocket, told: Notified, vantage: Vantage) -> Result<Handle, ObserveError> {
        spawn(NAME, vantage, move |_, _| Ok(NotifyWatch { socket, told, manner: Manner::Newline }))
    }
}

/// How a target speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// By lines of fields.
    Fields,
    /// By a newline and the end.
    Newline,
}

struct NotifyWatch {
    socket: NotifySocket,
    told: Notified,
    manner: Manner,
}

impl Watch for NotifyWatch {
    fn watch(self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        loop {
            let stopping = ready_within(&[vantage.stop.as_fd(), self.socket.as_fd()], IDLE)[0].readable;
            loop {
                let received =
                    self.socket.receive().map_err(ObserveError::look(NAME, "receive a message".to_owned()))?;
                let Some(message) = received else { break };
                account.announced();
                let (not_before, not_after) = message.sent;
                let at = Interval::new(vantage.clock.at(not_before), vantage.clock.at(not_after));
                if self.tell(message, at, vantage) {
                    return Ok(());
                }
            }
            if stopping {
                return Ok(());
            }
        }
    }
}

impl NotifyWatch {
    /// Makes a message part of the history; whether it was the last one.
    fn tell(&self, message: Notification, at: Interval, vantage: &Vantage) -> bool {
        match self.manner {
            Manner::Fields => {
                let fields: Vec<String> = message.text.lines().map(str::to_owned).collect();
                vantage.put(at, What::Notified { pid: message.pid, fields: fields.clone() });
                self.told.push(fields);
                false
            }
            Manner::Newline => {
                let closed = message.text.is_empty();
                let newline = message.text.contains('\n');
                vantage.put(at, What::NotifiedFd { text: message.text, closed });
                self.told.push(if newline { vec!["\n".to_owned()] } else { Vec::new() });
                closed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn a_newline_and_the_end_are_events() {
        let fixture = Fixture::new(None);
        let (socket, writer) = NotifySocket::pair().expect("pair");
        let notified = Notified::default();
        let handle = NewlineObserver::spawn(socket, notified.clone(), fixture.vantage()).expect("spawn");
        rustix::io::write(&writer, b"\n").expect("write");
        let (text, closed) = fixture.find(|_, what| match what {
            What::NotifiedFd { text, closed } => Some((text, closed)),
            _ => None,
        });
        assert_eq!((text.as_str(), closed), ("\n", false));
        drop(writer);
        handle.finish().expect("finish");
        assert!(notified.said("\n", 0) == Some(1) && notified.ended(1));
    }

    #[test]
    fn each_message_is_an_event_stamped_when_it_was_sent() {
        let fixture = Fixture::new(None);
        let path = std::env::temp_dir().join(format!("unbroken-notified-test-{}", std::process::id()));
        let socket = NotifySocket::with_path(&path).expect("socket");
        let (notified, handle) = NotifyObserver::spawn(socket, fixture.vantage()).expect("spawn");
        let sender = UnixDatagram::unbound().expect("socket");
        let before = fixture.vantage().clock.now();
        sender.send_to(b"RELOADING=1\nMONOTONIC_USEC=5", &path).expect("send");
        sender.send_to(b"READY=1", &path).expect("send");
        fixture.stop();
        handle.finish().expect("finish");
        let told: Vec<_> =
            fixture.take().into_iter().filter(|(_, what)| matches!(what, What::Notified { .. })).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].0.not_after >= before, "{told:?}");
        let What::Notified { fields, .. } = &told[0].1 else { unreachable!("filtered") };
        assert_eq!(*fields, ["RELOADING=1", "MONOTONIC_USEC=5"]);
        assert_eq!(
            (notified.count(), notified.said("RELOADING=1", 0), notified.said("READY=1", 1)),
            (2, Some(1), Some(2))
        );
        assert_eq!(notified.said("READY=1", 2), None);
        std::fs::remove_file(path).expect("it is there");
    }
}
