//! Correct graceful-restart servers to copy from, and every deliberate defect that a conformance suite must catch.
//!
//! The building blocks, from the outside in:
//!
//! | Block | What it is |
//! |---|---|
//! | [`run`](mod@run) | dispatch: which technique, with which options |
//! | [`technique`] | one way of restarting per file, composed of the rest |
//! | [`daemon`] | becoming a daemon: two forks, a session, a launcher that waits for the service |
//! | [`logfile`], [`environment`] | where its output goes; what its children get |
//! | [`confine`] | another root, other credentials, verified |
//! | [`master`] | holds the listener, starts generations, judges their readiness, drains the old |
//! | [`generation`] | accepts, serves, drains, ends; does what else there is to do in the same loop |
//! | [`pool`] | the same with several workers, replaced one after the other |
//! | [`handover`] | a successor and its predecessor, without a master: ready, go, gone |
//! | [`initialisation`] | what takes its time before a program can serve |
//! | [`listener`] | the listening socket and its accept queue |
//! | [`inherit`] | what crosses exec(2), and why the mark alone is not believed |
//! | [`further`] | sockets beside the first one: told by their names, added and dropped |
//! | [`listing`] | the same as a file lists them, for a master: given up only when the next version serves |
//! | [`config`] | a configuration file, and when to read it |
//! | [`activation`] | a listener that a supervisor bound, descriptors that it kept |
//! | [`fdpass`] | giving the listeners to a process that is no child, and being replaced by it |
//! | [`drain`] | telling every connection at once, and counting them out |
//! | [`service`], [`http`], [`echo`] | HTTP/1.1 or raw echo, thread per connection, an end without a race |
//! | [`websocket`] | messages, echoed, and an end that is said |
//! | [`h2`] | HTTP/2: streams side by side, and an end that tells which count |
//! | [`tls`] | TLS before a connection, and tickets that outlive a generation |
//! | [`datagram`] | datagrams, echoed by one generation at a time |
//! | [`watch`] | a finished change of a file, however it was written |
//! | [`notify`], [`watchdog`] | telling a supervisor: ready, reloading, stopping, alive; leaving descriptors with it |
//! | [`pidfile`] | atomic, locked, removed by its owner only |
//! | [`control`] | finding, signalling and stopping a daemon by its pidfile, and never a stranger |
//! | [`process`] | starting a program again, pidfds |
//! | [`adoption`] | being pid 1: waiting for orphans without taking a child of one's own from anybody |
//! | [`signal`], [`poll`], [`log`] | signals as a descriptor; waiting; debug lines |
//! | [`version`] | the deployed version, carried by the executable file |
//! | [`defect`] | every deliberate bug, its citation, and the check that must catch it |
//!
//! Linux only. The crate knows nothing of the harness that tests it and shares no code with it: a bug in common would cancel out.

pub mod activation;
pub mod adoption;
pub mod config;
pub mod confine;
mod connection;
pub mod control;
pub mod daemon;
pub mod datagram;
pub mod defect;
pub mod drain;
pub mod echo;
pub mod environment;
pub mod fdpass;
pub mod further;
pub mod generation;
pub mod group;
pub mod h2;
pub mod handover;
pub mod http;
pub mod inherit;
pub mod initialisation;
pub mod listener;
pub mod listing;
pub mod log;
pub mod logfile;
pub mod master;
pub mod notify;
pub mod pidfile;
pub mod poll;
pub mod pool;
pub mod process;
pub mod run;
pub mod service;
pub mod signal;
mod slave;
pub mod technique;
pub mod tls;
pub mod version;
pub mod watch;
pub mod watchdog;
pub mod websocket;

#[cfg(test)]
mod scratch;

pub use run::{run, run_if_asked};
