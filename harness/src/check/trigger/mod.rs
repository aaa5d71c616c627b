//! The button pressed in odd ways.

pub mod at_start;
pub mod sequential;
pub mod storm;
