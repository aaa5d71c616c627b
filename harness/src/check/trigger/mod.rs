//! The button pressed in odd ways.

pub mod sequential;
pub mod storm;
