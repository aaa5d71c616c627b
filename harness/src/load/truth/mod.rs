//! Truth tests: a server that does each kind of harm a known number of times, and a driver that must report exactly
//! those.

#[cfg(feature = "app-view")]
mod application;
mod bodies;
mod by_hand;
mod echo;
mod fake_server;
mod fast;
mod fixture;
mod flow;
mod fresh;
mod h2;
mod half_open;
mod kept;
mod owner;
mod parked;
mod paused;
mod tls;
mod unix;
mod websocket;
