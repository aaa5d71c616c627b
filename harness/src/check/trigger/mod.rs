//! The button pressed in odd ways.

pub mod at_start;
pub mod during_drain;
mod killed;
pub mod killed_new;
pub mod killed_old;
pub mod sequential;
pub mod storm;
mod suspended;
pub mod suspended_new;
pub mod suspended_old;
