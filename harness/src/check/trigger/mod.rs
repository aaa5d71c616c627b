//! The button pressed in odd ways.

pub mod at_start;
pub mod during_drain;
pub mod sequential;
pub mod storm;
