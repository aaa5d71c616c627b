//! For tests: a fresh network namespace with its loopback up.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sched::{CloneFlags, unshare};

use crate::kernel::netlink::Netlink;

/// Runs `test` on a thread of its own inside a fresh network namespace, which it is handed. Says "unavailable" and
/// returns where unshare(2) is not permitted.
pub(crate) fn in_fresh_netns(test: impl FnOnce(Arc<OwnedFd>) + Send) {
    std::thread::scope(|scope| {
        let body = || {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                let _ = writeln!(io::stderr(), "unavailable: a network namespace ({error})");
                return;
            }
            raise_loopback().expect("raise the loopback");
            let namespace = File::open("/proc/thread-self/ns/net").expect("open the namespace");
            test(Arc::new(namespace.into()));
        };
        if let Err(panic) = scope.spawn(body).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// RTM_NEWLINK (rtnetlink(7)): sets IFF_UP on interface 1.
fn raise_loopback() -> io::Result<()> {
    let mut netlink = Netlink::open(None)?;
    let up = u32::try_from(libc::IFF_UP).expect("a flag").to_ne_bytes();
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK).expect("netlink flags have 16 bits");
    let mut request = [0; 32];
    request[0..4].copy_from_slice(&32u32.to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[20..24].copy_from_slice(&1i32.to_ne_bytes());
    request[24..28].copy_from_slice(&up);
    request[28..32].copy_from_slice(&up);
    netlink.send(&request)?;
    let answer = netlink.receive()?;
    match answer.get(16..20).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
