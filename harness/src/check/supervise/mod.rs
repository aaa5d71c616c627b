//! supervise/…: the target in the hands of somebody who keeps it running. What these do is the witness; the target's part is
//! judged.

pub mod comes_back;
pub mod fd_store;
pub mod limits;
pub mod nohup;
pub mod socket_activation;
pub mod supervisord;
pub mod systemd_forking;
pub mod systemd_notify;
pub mod systemd_reload;
pub mod watchdog;
