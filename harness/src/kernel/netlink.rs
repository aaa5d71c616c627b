//! A netlink socket (netlink(7)): one datagram out, datagrams in; and the attributes that both are made of.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// The kernel fills at most 32 KiB per receive when it is offered as much (`netlink_dump`).
const BUFFER_BYTES: usize = 32 * 1024;

/// NLA_F_NESTED (netlink(7)).
pub(super) const NESTED: u16 = 1 << 15;

/// Where a message's payload begins: behind its `nlmsghdr`.
const PAYLOAD_AT: usize = 16;

/// `nlattr` and its value, padded to four bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a short attribute");
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A request: `nlmsghdr` and what follows it.
pub(super) fn message(kind: u16, flags: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(PAYLOAD_AT + body.len()).expect("a short message");
    let flags = u16::try_from(libc::NLM_F_REQUEST | flags).expect("netlink flags have 16 bits");
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat()
}

/// The value of the first attribute of this kind.
pub(super) fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let [low, high, kind_low, kind_high, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        if u16::from_ne_bytes([kind_low, kind_high]) & !NESTED == kind {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}

/// A socket and its receive buffer. It belongs to the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket of this netlink protocol, not bound to any group.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Netlink> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        Ok(Netlink { socket, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Joins multicast groups 1 to 32, given as bits 0 to 31.
    pub(super) fn join(&self, groups: u32) -> io::Result<()> {
        bind(&self.socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(())
    }

    /// Sends one request to the kernel.
    pub(super) fn send(&self, request: &[u8]) -> io::Result<()> {
        loop {
            match send(&self.socket, request, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next datagram, waiting for it.
    pub(super) fn receive(&mut self) -> io::Result<&[u8]> {
        let length = self.receive_length(RecvFlags::TRUNC)?;
        Ok(&self.buffer[..length])
    }

    /// Waits for the kernel's word on a request that asked for it (NLM_F_ACK).
    pub(super) fn acknowledged(&mut self) -> io::Result<()> {
        let code = self.receive()?.get(PAYLOAD_AT..PAYLOAD_AT + 4).and_then(|code| code.try_into().ok());
        match code.map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The next datagram if one is there.
    pub(super) fn try_receive(&mut self) -> io::Result<Option<&[u8]>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_behind_others_whatever_their_padding() {
        let all =
            [attribute(1, b"odd"), attribute(7 | NESTED, &attribute(2, b"inner")), attribute(3, b"four")].concat();
        assert_eq!(find(&all, 3), Some(&b"four"[..]));
        assert_eq!(find(&all, 7).and_then(|inner| find(inner, 2)), Some(&b"inner"[..]));
        assert_eq!(find(&all, 2), None);
        assert_eq!(find(&[0; 4], 3), None, "a length of nothing ends");
        assert_eq!(find(&all[..5], 1), None, "it is cut short");
    }
}
