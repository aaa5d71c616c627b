//! Reports: pure functions from a summary to text. They never print; the command line does.
//!
//! - [`terminal`] for people, [`json`] for programs; [`Format`] names them
//! - [`selftest`] the defect matrix, in both forms
//! - [`wording`] the sentences that several places of the program say

mod format;
pub mod json;
#[cfg(test)]
mod sample;
pub mod selftest;
pub mod terminal;
pub mod wording;

pub use format::{Format, UnknownFormat};
pub use terminal::Page;
