//! Namespaces: entering one, making a user namespace, bringing loopback up.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

/// Why a namespace could not be made, entered or set up.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// setns(2).
    #[error("enter the network namespace (setns)")]
    Enter(#[source] io::Error),
    /// No thread could be started that would enter it.
    #[error("start a thread that enters the network namespace")]
    Thread(#[source] io::Error),
    /// unshare(2): EPERM where it is forbidden, EINVAL once the process has a second thread.
    #[error("make a user namespace (unshare)")]
    User(#[source] io::Error),
    /// unshare(2), or making the mounts private (mount(2)).
    #[error("make a mount namespace (unshare)")]
    Mounts(#[source] io::Error),
    /// The id maps of user_namespaces(7).
    #[error("write {file}")]
    Map {
        /// Which file.
        file: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// SIOCSIFFLAGS on `lo`.
    #[error("bring the loopback interface up")]
    Loopback(#[source] io::Error),
}

/// Moves the calling thread, and it alone, into a network namespace. Sockets that it made before stay where they are.
///
/// # Errors
/// Those of setns(2): EPERM without CAP_SYS_ADMIN over that namespace.
pub fn enter_netns(netns: BorrowedFd<'_>) -> Result<(), NamespaceError> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
        .map_err(|errno| NamespaceError::Enter(errno.into()))
}

/// Acts in a network namespace (the caller's when absent), on a thread of its own: entering one is for good.
///
/// # Errors
/// As [`enter_netns`], and where no thread is to be had.
pub fn inside_netns<T: Send>(
    netns: Option<BorrowedFd<'_>>,
    act: impl FnOnce() -> T + Send,
) -> Result<T, NamespaceError> {
    std::thread::scope(|scope| {
        let acting = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, || {
            netns.map_or(Ok(()), enter_netns)?;
            Ok(act())
        });
        acting.map_err(NamespaceError::Thread)?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves the calling process into a new user namespace in which it is root, alone (user_namespaces(7)): possible once,
/// and before the process has a second thread.
///
/// # Errors
/// Where unprivileged user namespaces are forbidden, or the process has threads.
pub fn enter_user_namespace() -> Result<(), NamespaceError> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| NamespaceError::User(errno.into()))?;
    // Without privilege outside, gid_map can only be written once setgroups(2) is given up.
    for (file, content) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {} 1", user.as_raw())),
        ("/proc/self/gid_map", format!("0 {} 1", group.as_raw())),
    ] {
        std::fs::write(file, content).map_err(|source| NamespaceError::Map { file, source })?;
    }
    Ok(())
}

/// Moves the calling thread, and whatever it begins from then on, into a mount namespace of its own: a copy of what it saw, with
/// which nobody else's mounts come and go. It ends with the last of them, and all that was mounted there (mount_namespaces(7)).
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN in its user namespace.
pub fn enter_mount_namespace() -> Result<(), NamespaceError> {
    // Its working directory is its own from here, too.
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| NamespaceError::Mounts(errno.into()))?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|errno| NamespaceError::Mounts(errno.into()))
}

/// Brings `lo` up in the calling thread's network namespace; a new one begins with it down.
///
/// # Errors
/// Without CAP_NET_ADMIN over the namespace.
pub fn loopback_up() -> Result<(), NamespaceError> {
    let failed = |error: io::Error| NamespaceError::Loopback(error);
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| failed(errno.into()))?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
    // SAFETY: both requests read and write one ifreq, which outlives the calls.
    unsafe {
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_new_network_namespace_takes_connections_once_loopback_is_up() {
        let entered = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let before = TcpListener::bind("127.0.0.1:0").expect("binding needs no interface");
            let address = before.local_addr().expect("it is bound");
            assert!(TcpStream::connect(address).is_err());
            loopback_up().expect("this thread owns the namespace");
            TcpStream::connect(address).expect("loopback is up");
            Ok::<_, nix::Error>(())
        });
        if let Err(error) = entered.join().expect("the thread does not panic") {
            let _ = writeln!(io::stderr(), "unavailable: network namespaces ({error})");
        }
    }

    #[test]
    fn entering_a_network_namespace_moves_only_the_calling_thread() {
        let own = || std::fs::read_link("/proc/thread-self/ns/net").expect("every thread has one");
        let here = own();
        let there = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).ok()?;
            let file = std::fs::File::open("/proc/thread-self/ns/net").expect("every thread has one");
            let name = own();
            let entered = std::thread::spawn(move || {
                enter_netns(file.as_fd()).expect("the one who made it may enter it");
                own()
            });
            assert_eq!(entered.join().expect("the thread does not panic"), name);
            Some(name)
        });
        match there.join().expect("the thread does not panic") {
            Some(there) => assert_ne!(there, here),
            None => drop(writeln!(io::stderr(), "unavailable: network namespaces")),
        }
        assert_eq!(own(), here);
    }
}
