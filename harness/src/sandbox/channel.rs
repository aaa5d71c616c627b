//! A SOCK_SEQPACKET pair that carries JSON messages and descriptors (unix(7), SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why two processes of the harness could not talk.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// socketpair(2).
    #[error("make a control socket")]
    Pair(#[source] io::Error),
    /// sendmsg(2): EPIPE when the other end is gone, EMSGSIZE for a command line and environment above about 200 KB.
    #[error("send on a control socket")]
    Send(#[source] io::Error),
    /// recvmsg(2).
    #[error("receive from a control socket")]
    Receive(#[source] io::Error),
    /// A message cut short by the kernel, or one not of ours.
    #[error("understand a message on a control socket: {0}")]
    Message(String),
}

/// The most descriptors that one message carries.
const DESCRIPTORS: usize = 8;

/// The longest message: above what the kernel's default send buffer lets through (212 992 bytes).
const LONGEST: usize = 512 * 1024;

/// One end.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Channel {
        Channel { socket, buffer: vec![0; LONGEST] }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Channel {
    /// Two ends, both close-on-exec; the second still to be handed to another process.
    pub(super) fn pair() -> Result<(Channel, OwnedFd), ChannelError> {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|errno| ChannelError::Pair(errno.into()))?;
        Ok((Channel::from(near), far))
    }

    /// Sends one message with descriptors, of which the receiver gets copies.
    pub(super) fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let text = serde_json::to_vec(message).map_err(|error| ChannelError::Message(error.to_string()))?;
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(
                control.push(SendAncillaryMessage::ScmRights(descriptors)),
                "more descriptors than a message carries"
            );
        }
        loop {
            match sendmsg(&self.socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(ChannelError::Send(errno.into())),
            }
        }
    }

    /// The next message and its descriptors (close-on-exec); `None` when the other end is gone. Blocks.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, ChannelError> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                // The other end went away with a message of ours unread.
                Err(Errno::CONNRESET) => return Ok(None),
                Err(errno) => return Err(ChannelError::Receive(errno.into())),
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ChannelError::Message("it was cut short".to_owned()));
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let text = &self.buffer[..received.bytes];
        match serde_json::from_slice(text) {
            Ok(message) => Ok(Some((message, descriptors))),
            Err(error) => Err(ChannelError::Message(format!("{error} in {}", String::from_utf8_lossy(text)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors_and_then_the_end() {
        let (near, far) = Channel::pair().expect("descriptors are left");
        let mut far = Channel::from(far);
        let null = std::fs::File::open("/dev/null").expect("it exists");
        near.send(&"words", &[null.as_fd(), null.as_fd()]).expect("the other end is open");
        let (text, descriptors) = far.receive::<String>().expect("it was sent").expect("it is not the end");
        assert_eq!((text.as_str(), descriptors.len()), ("words", 2));
        let flags = rustix::io::fcntl_getfd(&descriptors[0]).expect("it is open");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(near);
        assert!(far.receive::<String>().expect("the end is no error").is_none());
    }

    #[test]
    fn an_end_that_goes_away_with_unread_mail_is_only_the_end() {
        let (mut near, far) = Channel::pair().expect("descriptors are left");
        near.send(&1, &[]).expect("the other end is open");
        drop(far);
        assert!(near.receive::<u8>().expect("the end is no error").is_none());
        assert!(matches!(near.send(&1, &[]), Err(ChannelError::Send(_))));
    }

    #[test]
    fn a_message_longer_than_the_kernel_takes_is_an_error() {
        let (near, _far) = Channel::pair().expect("descriptors are left");
        assert!(matches!(near.send(&"x".repeat(LONGEST), &[]), Err(ChannelError::Send(_))));
    }
}
