//! The command line, one file per subcommand: [`main`] parses, calls, and ends with an exit code.
//!
//! - the subcommands: `check`, `doctor`, `list`, `explain`, `judge`, `load`, `matrix`, `bench`, `selftest`, `schema`, `reference`
//! - what they share: `command` dispatches, `selection` finds what the words mean, `subject` reads a user's own files,
//!   `output` and `progress` are the only places that print, `interrupt` turns signals into a request to stop,
//!   `failure` is what a command ends with when it cannot do its work, `effect` what it calls

mod bench;
mod check;
mod command;
mod directory;
mod doctor;
mod effect;
mod explain;
mod failure;
mod interrupt;
mod judge;
mod list;
mod load;
mod manual;
mod matrix;
mod options;
mod output;
mod progress;
mod reference;
mod reports;
mod schema;
mod selection;
mod selftest;
mod subject;
mod url;

pub use command::main;
