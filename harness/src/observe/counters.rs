//! Reads the TCP counters of a network namespace, the target's or that of its clients, when it is asked to.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use super::account::Account;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::inbox::{Inbox, Outbox, inbox};
use super::vantage::Vantage;
use crate::clock::Interval;
use crate::event::What;
use crate::kernel::counter;
use crate::wait::ready_within;

/// Whose counters they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The target's.
    OfTarget,
    /// Its clients', where these have a network namespace of their own.
    OfClients,
}

impl Counted {
    fn observer(self) -> &'static str {
        match self {
            Counted::OfTarget => "counters",
            Counted::OfClients => "client-counters",
        }
    }

    fn what(self, moment: &str, values: BTreeMap<String, u64>) -> What {
        let moment = moment.to_owned();
        match self {
            Counted::OfTarget => What::Counters { moment, values },
            Counted::OfClients => What::ClientCounters { moment, values },
        }
    }
}

/// Nothing is polled: an hour only bounds one wait, after which it waits again.
const IDLE: Duration = Duration::from_secs(3600);

type Answer = Result<BTreeMap<String, u64>, ObserveError>;

struct Request {
    moment: String,
    answer: SyncSender<Answer>,
}

/// Asks for readings. Clones ask the same thread.
#[derive(Clone)]
pub struct CounterReader {
    counted: Counted,
    requests: Outbox<Request>,
}

impl CounterReader {
    /// Starts the thread in the namespace; its first reading is named "start", its last "end".
    ///
    /// # Errors
    /// When the namespace cannot be entered or its counters cannot be read.
    pub fn spawn(counted: Counted, vantage: Vantage) -> Result<(CounterReader, Handle), ObserveError> {
        let observer = counted.observer();
        let (requests, inbox) = inbox().map_err(|source| ObserveError::Thread { observer, source })?;
        let handle = spawn(observer, vantage, move |vantage, account| {
            let watch = CounterWatch { counted, inbox };
            counted.read("start", vantage, account)?;
            Ok(watch)
        })?;
        Ok((CounterReader { counted, requests }, handle))
    }

    /// Reads now: the event is in the sink when this returns, its interval is the time that reading took.
    ///
    /// # Errors
    /// When reading fails or the thread has ended.
    pub fn read(&self, moment: &str) -> Answer {
        let (answer, answered) = sync_channel(1);
        // A request that the thread no longer takes drops its answer's sender.
        let _ = self.requests.send(Request { moment: moment.to_owned(), answer });
        answered.recv().unwrap_or(Err(ObserveError::Ended { observer: self.counted.observer() }))
    }
}

struct CounterWatch {
    counted: Counted,
    inbox: Inbox<Request>,
}

impl Watch for CounterWatch {
    fn watch(self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        loop {
            // Look at the stop before the requests: what was asked before it is answered before the last reading.
            let stopped = vantage.stop.is_asked();
            while let Some(request) = self.inbox.next() {
                let answer = self.counted.read(&request.moment, vantage, account);
                if let Err(error) = &answer {
                    vantage.fault(self.counted.observer(), error.sentence());
                }
                // Whoever asked may have given up.
                let _ = request.answer.send(answer);
            }
            if stopped {
                return self.counted.read("end", vantage, account).map(drop);
            }
            let _ = ready_within(&[vantage.stop.as_fd(), self.inbox.as_fd()], IDLE);
        }
    }
}

impl Counted {
    fn read(self, moment: &str, vantage: &Vantage, account: &mut Account) -> Answer {
        let began = vantage.clock.now();
        let values = counter::read().map_err(ObserveError::look(self.observer(), "read the TCP counters"))?;
        account.announced();
        vantage.put(Interval::new(began, vantage.clock.now()), self.what(moment, values.clone()));
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::super::fixture::Fixture;
    use super::*;
    use crate::kernel::inet_diag::fresh_netns::in_fresh_netns;

    #[test]
    fn readings_are_of_the_namespace_and_in_the_history_when_they_return() {
        in_fresh_netns(|netns| {
            let fixture = Fixture::new(Some(netns));
            let (reader, handle) = CounterReader::spawn(Counted::OfTarget, fixture.vantage()).expect("spawn");
            let before = reader.read("before").expect("read");
            assert!(TcpStream::connect("127.0.0.1:1").is_err());
            let after = reader.read("after").expect("read");
            assert_eq!(after["Tcp.AttemptFails"], before["Tcp.AttemptFails"] + 1);
            let moment = |what| if let What::Counters { moment, .. } = what { Some(moment) } else { None };
            let moments: Vec<_> = fixture.take().into_iter().filter_map(|(_, what)| moment(what)).collect();
            assert_eq!(moments, ["start", "before", "after"]);

            fixture.stop();
            assert_eq!(handle.finish().expect("finish").samples, 4);
            assert!(matches!(reader.read("late"), Err(ObserveError::Ended { .. })));
        });
    }
}
