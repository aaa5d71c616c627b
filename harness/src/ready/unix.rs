//! Connections to UNIX sockets, whose names have 108 bytes at most (unix(7)) and whose queue may be full.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// By the descriptor of its directory, so that a path of any length has a name.
pub(super) fn to_path(path: &Path) -> io::Result<UnixStream> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(parent)?;
    connect(&SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))?)
}

/// In the abstract namespace, which is that of the network.
pub(super) fn to_name(name: &str) -> io::Result<UnixStream> {
    connect(&SocketAddrUnix::new_abstract_name(name.as_bytes())?)
}

/// Where nothing has the name nobody listens, and a queue that is full is waited for by nobody: a connect that blocks would know no
/// limit.
fn connect(address: &SocketAddrUnix) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(io::ErrorKind::ConnectionRefused.into()),
        Err(Errno::AGAIN) => return Err(io::Error::new(io::ErrorKind::TimedOut, "its queue is full")),
        Err(error) => return Err(error.into()),
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_path_of_any_length_is_reached_and_one_without_a_socket_refuses() {
        let directory = std::env::temp_dir().join(format!("unbroken-unix-{}-{}", std::process::id(), "x".repeat(120)));
        std::fs::create_dir(&directory).expect("mkdir");
        let path = directory.join("s");
        assert_eq!(to_path(&path).expect_err("no file").kind(), io::ErrorKind::ConnectionRefused);
        let short = std::env::temp_dir().join(format!("unbroken-unix-{}", std::process::id()));
        let listener = UnixListener::bind(&short).expect("bind");
        std::fs::rename(&short, &path).expect("rename");
        to_path(&path).expect("connect");
        drop(listener);
        assert_eq!(to_path(&path).expect_err("a dead file").kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_dir_all(&directory).expect("remove");
    }

    #[test]
    fn a_full_queue_is_not_waited_for() {
        let name = format!("unbroken-full-{}", std::process::id());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("a name");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("socket");
        rustix::net::bind(&socket, &address).expect("bind");
        rustix::net::listen(&socket, 0).expect("listen");
        let _waits = to_name(&name).expect("the queue has room for one");
        assert_eq!(to_name(&name).expect_err("and for no more").kind(), io::ErrorKind::TimedOut);
    }
}
