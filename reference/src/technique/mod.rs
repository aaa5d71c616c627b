//! The techniques: one way of restarting, or of pretending to, per file. Each composes the building blocks.

pub mod activated;
pub mod exec_inherit;
pub mod fd_handover;
pub mod nohup;
pub mod null;
pub mod orphan;
pub mod prefork;
pub mod re_exec;
pub mod reuseport;
pub mod securing;
pub mod serve;
pub mod takeover;
pub mod watching;
