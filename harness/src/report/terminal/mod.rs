//! The report for people: what was judged, then every failure with what a person needs to verify it by hand.
//!
//! From top to bottom: header; per target its table, an `entry` for everything that is not a plain pass, scenarios
//! that were not run, measures, and one verdict line; at the end the total and what the exit code means.

mod closing;
mod entry;
mod header;
mod history;
mod measures;
mod page;
mod problem;
mod render;
mod table;
mod unrun;

pub(super) use page::Ink;
pub use page::Page;
pub use render::render;
pub(super) use table::ink;
