//! Reports: pure functions from a summary to text. They never print; the command line does.
//!
//! - [`terminal`] for people, [`json`] for programs, [`junit`] for continuous integration; [`Format`] names them
//! - [`matrix`] targets side by side, for people and as Markdown
//! - [`mod@bench`] of a benchmark, [`plot`] its timeline as a picture, [`calibrate`] of a calibration of the load, [`load`] of a load that was driven by itself
//! - [`doctor`] the examination of a target, [`selftest`] the defect matrix, in all of them
//! - [`wording`] the sentences that several places of the program say

pub mod bench;
pub mod calibrate;
pub mod doctor;
mod format;
pub mod json;
pub mod junit;
pub mod load;
pub mod matrix;
pub mod plot;
#[cfg(test)]
mod sample;
pub mod selftest;
pub mod terminal;
pub mod wording;

pub use format::{Format, UnknownFormat};
pub use terminal::Page;
