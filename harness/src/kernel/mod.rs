//! Safe wrappers over single system calls that no crate has, one noun per file.

pub mod cgroup;
pub mod clock;
pub mod clone;
pub mod counter;
pub mod inet_diag;
pub mod inotify;
pub mod namespace;
mod netlink;
pub mod nf_tables;
pub mod notify;
pub mod pidfd;
pub mod seccomp;
pub mod stream;
pub mod tbf;
pub mod tcp;
pub mod timer;
pub mod tmpfs;
pub mod udp;
pub mod unix;
pub mod veth;
