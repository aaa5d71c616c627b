//! Observers: what the kernel says of the target, as events.
//!
//! One file, one thread, one kind of event each. `spawn` returns after the thread has subscribed and taken its first
//! sample, so whatever is triggered afterwards is seen. An observer ends when the run's stop is asked, after one last
//! sample; what it could not see is an [`ObserverFault`](crate::event::What::ObserverFault) in the history and an
//! error of its [`Handle`], never silence.
//!
//! - [`ListenerObserver`]: listening sockets and their ends (inet_diag)
//! - [`ListenHookObserver`]: the target standing still in listen(2)
//! - [`Adversary`]: the end of a daemon's start, held until its launcher has shown whether it waits
//! - [`ProcessObserver`]: the process tree, who holds the listeners, and who lacks a processor
//! - [`PidfileObserver`]: every change of the pidfile's name
//! - [`CounterReader`]: TCP counters of the network namespace, on request
//! - [`OutputObserver`]: what the target writes
//! - [`NotifyObserver`]: what it tells its supervisor
//! - [`ExitObserver`]: how processes ended

mod account;
mod adversary;
mod counters;
mod endpoints;
mod error;
mod exits;
#[cfg(test)]
mod fixture;
mod handle;
mod inbox;
mod listen_hook;
mod listeners;
mod notify;
mod output;
mod pidfile;
mod processes;
mod starvation;
mod vantage;

pub use account::Account;
pub use adversary::{Adversary, Concern, StartupCalls, Term, Waiter};
pub use counters::{Counted, CounterReader};
pub use endpoints::Endpoints;
pub use error::ObserveError;
pub use exits::{Exit, ExitObserver, ExitSource, ExitWatch};
pub use handle::Handle;
pub use listen_hook::{HeldCall, HeldCalls, HeldSocket, ListenHookObserver};
pub use listeners::{ListenerInodes, ListenerObserver};
pub use notify::{NewlineObserver, Notified, NotifyObserver};
pub use output::OutputObserver;
pub use pidfile::{PidfileObserver, PidfileReader, PidfileState};
pub use processes::{ProcessObserver, ProcessRow, ProcessView};
pub use vantage::Vantage;
