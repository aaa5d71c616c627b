//! `unbroken` answers one question about any server on Linux: does it become a proper daemon, and does it survive its
//! own restart without losing a single connection?
//!
//! The code in the order of its data flow:
//!
//! - vocabulary, without I/O: [`clock`], [`id`], [`machine`], [`manifest`] → [`target`], [`scenario`], [`plan`],
//!   [`supervisord`], [`systemd`], [`event`], [`request`] and [`datagram`] → [`history`], [`drive`], [`verdict`], [`expectation`]; [`catalogue`] holds the embedded files
//! - effects: [`kernel`], [`wait`], [`sandbox`], [`process`], [`ready`], [`load`], [`observe`], and [`run`], which turns
//!   a plan into a history
//! - judgement, pure: [`check`], [`report`]
//! - [`cli`] the commands.

pub mod bench;
pub mod calibrate;
pub mod catalogue;
pub mod check;
pub mod cli;
pub mod clock;
pub mod datagram;
pub mod date;
pub mod doctor;
pub mod drive;
pub mod event;
pub mod expectation;
pub mod history;
pub mod id;
pub mod judge;
pub mod kernel;
pub mod load;
pub mod machine;
pub mod manifest;
pub mod measure;
pub mod observe;
pub mod plan;
pub mod process;
pub mod progress;
pub mod ready;
pub mod report;
pub mod request;
pub mod run;
pub mod sandbox;
pub mod scenario;
pub mod selftest;
pub mod summary;
pub mod supervisord;
pub mod systemd;
pub mod target;
pub mod tls;
pub mod verdict;
pub mod verify;
pub mod wait;

pub use sandbox::run_if_asked;
