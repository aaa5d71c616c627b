//! TLS through an upgrade.

pub mod handshakes;
pub mod resumption;
