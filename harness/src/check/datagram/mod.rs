//! What becomes of datagrams when a server is upgraded.

pub mod flow_sticks;
pub mod none_lost;
