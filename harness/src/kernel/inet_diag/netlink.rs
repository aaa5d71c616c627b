//! A netlink socket (netlink(7)): one datagram out, datagrams in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// The kernel fills at most 32 KiB per receive when it is offered as much (`netlink_dump`).
const BUFFER_BYTES: usize = 32 * 1024;

/// A socket and its receive buffer. It belongs to the network namespace of the thread that opened it.
#[derive(Debug)]
pub(in crate::kernel) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket of this netlink protocol, not bound to any group.
    pub(in crate::kernel) fn open(protocol: Option<Protocol>) -> io::Result<Netlink> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        Ok(Netlink { socket, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Joins multicast groups 1 to 32, given as bits 0 to 31.
    pub(in crate::kernel) fn join(&self, groups: u32) -> io::Result<()> {
        bind(&self.socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(())
    }

    /// Sends one request to the kernel.
    pub(in crate::kernel) fn send(&self, request: &[u8]) -> io::Result<()> {
        loop {
            match send(&self.socket, request, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next datagram, waiting for it.
    pub(in crate::kernel) fn receive(&mut self) -> io::Result<&[u8]> {
        let length = self.receive_length(RecvFlags::TRUNC)?;
        Ok(&self.buffer[..length])
    }

    /// The next datagram if one is there.
    pub(in crate::kernel) fn try_receive(&mut self) -> io::Result<Option<&[u8]>> {
        match self.receive_length(RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
            Ok(length) => Ok(Some(&self.buffer[..length])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn receive_length(&mut self, flags: RecvFlags) -> io::Result<usize> {
        loop {
            match recv(&self.socket, self.buffer.as_mut_slice(), flags) {
                Ok((_, whole)) if whole > BUFFER_BYTES => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink datagram was cut short"));
                }
                Ok((_, length)) => return Ok(length),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
