//! `reuseport`: a master holds the address, and each generation listens there with a socket of its own (SO_REUSEPORT, socket(7)).
//!
//! When to use it: where a listener cannot be handed on (another user's process, a runtime that hides its descriptors), or where each
//! worker is to have an accept queue of its own. Where it can, `exec-inherit` is simpler and loses nothing by its nature.
//!
//! What it guarantees: some socket listens on the address at every instant, because the next one listens before the one before is
//! told to go. No connect is refused.
//!
//! What it cannot, bare: keep what belongs to the socket that is closed. The kernel chooses a socket of the group by a hash when the
//! SYN comes, so an accept queue and the half-open handshakes stay with the one that was chosen, and die with it: each of those
//! clients gets a reset, though another socket listens. At a few hundred connections a second it is rarely one, and so it stays
//! unnoticed until a generation is slow.
//!
//! With `--keep-queue` a generation sends whoever comes from now on to the next one's socket ([`crate::group`]), takes all that waits in
//! its own queue, and only then closes it. For half-open handshakes only the kernel can help: net.ipv4.tcp_migrate_req = 1 (Linux 5.14,
//! a setting of the network namespace, 0 unless somebody sets it) lets it move them to another socket of the group. That alone is not
//! enough, nor is it with the queue emptied: a handshake whose last ACK is taken on one processor while close(2) runs on another is
//! reset, and counted neither as migrated nor as failed. It was seen once, before clients were sent elsewhere first.

use std::io::ErrorKind;

use clap::{ArgAction, Args};

use crate::generation::Farewell;
use crate::inherit;
use crate::log::Log;
use crate::master::Held;
use crate::technique::exec_inherit::{self, Manner};

/// What says whether the kernel moves connections from a socket that is closed to another one of its group.
const MIGRATION: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

/// The command line.
#[derive(Args, Clone, Debug)]
// The options of `exec-inherit` are a group of their own, which would be called the same.
#[group(id = "reuseport")]
pub struct Options {
    /// What every technique with a master takes
    #[command(flatten)]
    pub server: exec_inherit::Options,
    /// Send new clients to the next generation and take what waits in the accept queue before the listener is closed; the rest is the
    /// kernel's (tcp_migrate_req)
    #[arg(long, action = ArgAction::SetTrue)]
    pub keep_queue: bool,
}

/// Runs as a generation if the process carries the mark, else as the master.
///
/// # Errors
/// The reason, complete, for standard error.
pub fn run(options: &Options) -> Result<(), String> {
    if options.keep_queue && !inherit::is_marked() {
        say_whether_kernel_migrates();
    }
    let farewell = if options.keep_queue { Farewell::DrainQueue } else { Farewell::Drain };
    exec_inherit::run_as(Manner { held: Held::Address, farewell }, &options.server)
}

/// Without it a promise is not kept that nobody else can keep: whoever runs the server must know. It is set by whoever owns the
/// network namespace, not by one of the programs in it.
fn say_whether_kernel_migrates() {
    let log = Log::master();
    match std::fs::read_to_string(MIGRATION) {
        Ok(setting) if setting.trim() != "0" => {}
        Ok(_) => log.line("net.ipv4.tcp_migrate_req is 0: handshakes that are half done at an upgrade will be lost"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            log.line("this kernel has no tcp_migrate_req: handshakes that are half done at an upgrade will be lost");
        }
        Err(error) => log.line(format_args!("cannot tell whether the kernel migrates: {error}")),
    }
}
