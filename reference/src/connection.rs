//! One connection, whatever is spoken on it: request after request, and an end that no client can notice as a failure.
//!
//! A [`Dialogue`] says what a request is and how it is answered. When the connection ends is decided here, the same way for all: a
//! kept one is closed as idle some time after the drain has begun, one without its first request never, and every end is a closed
//! sending half first and a closed socket only when the client has closed its own.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::defect::{KeptConnection, YoungConnection};
use crate::poll;
use crate::service::Service;

/// Longest time to wait, without progress, for the client to close after the last answer; nginx's `lingering_timeout` is 5 s, but a
/// drain should not hang on clients that never close.
const LINGER: Duration = Duration::from_secs(2);

/// What is spoken on a connection.
pub(crate) trait Dialogue {
    /// What has been received when it can be answered.
    type Request;

    /// The request at the beginning of these bytes and its length, or `None` if it is not complete. `is_all`: the client sends no more.
    fn parse(unread: &[u8], is_all: bool) -> Option<(Self::Request, usize)>;

    /// Reads what belongs to a request and follows it.
    fn discard(connection: &mut Connection<'_>, request: &Self::Request) -> io::Result<()>;

    /// Reads what belongs to a request, and answers it.
    fn answer(connection: &mut Connection<'_>, request: Self::Request) -> io::Result<Next>;
}

/// Whether the connection can carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It can.
    Keep,
    /// This was the last one.
    Close,
}

/// One connection and what has been received but not used.
pub(crate) struct Connection<'a> {
    pub(crate) service: &'a Service,
    pub(crate) stream: TcpStream,
    pub(crate) unread: Vec<u8>,
    /// No request has been received yet.
    fresh: bool,
}

impl<'a> Connection<'a> {
    /// One that has just been accepted.
    pub(crate) fn new(service: &'a Service, stream: TcpStream) -> Self {
        Self { service, stream, unread: Vec::new(), fresh: true }
    }

    /// Request after request.
    pub(crate) fn run<D: Dialogue>(&mut self) -> io::Result<()> {
        while self.wait_for_request()? {
            if self.breaks_off::<D>()? {
                return Ok(());
            }
            let next = match self.read_request::<D>()? {
                Some(_) if self.drops_late() => return Ok(()),
                Some(request) => D::answer(self, request)?,
                None => return Ok(()),
            };
            self.fresh = false;
            if next == Next::Close {
                return self.linger();
            }
        }
        // Whoever has been idle for so long has his answer: there is nothing that a reset could destroy. And who lingers reads a request away
        // that crosses the FIN, and acknowledges it, as if it had been taken in.
        Ok(())
    }

    /// Waits for the first byte of the next request; `false` if the connection is to be closed instead.
    ///
    /// A connection that has not sent its first request is never closed as idle: its client has just connected and is about to
    /// send, and nothing has told it otherwise.
    fn wait_for_request(&self) -> io::Result<bool> {
        if !self.unread.is_empty() {
            return Ok(true);
        }
        let drain = &self.service.drain;
        let signal = drain.signal();
        loop {
            let mut entries = [poll::readable(&self.stream), poll::readable(&signal)];
            if drain.has_begun() {
                // Without the drain signal: it stays readable, and polling it again would spin.
                let idle_until = match (self.fresh, self.service.young) {
                    (true, YoungConnection::CloseUnused) => Some(Instant::now()),
                    (true, _) => None,
                    (false, _) => drain.idle_until(),
                };
                return poll::until(&mut entries[..1], idle_until);
            }
            poll::until(&mut entries, None)?;
            if poll::fired(&entries[0]) {
                return Ok(true);
            }
        }
    }

    /// The mistake of [`YoungConnection::DropLate`].
    fn drops_late(&self) -> bool {
        self.fresh && self.service.young == YoungConnection::DropLate && self.service.drain.has_begun()
    }

    /// Where the defects of kept and of young connections strike; a correct server never breaks off.
    fn breaks_off<D: Dialogue>(&mut self) -> io::Result<bool> {
        if !self.service.drain.has_begun() {
            return Ok(false);
        }
        let manner = match (self.fresh, self.service.young) {
            (false, _) => self.service.kept,
            (true, YoungConnection::Swallow) => KeptConnection::Swallow,
            (true, _) => KeptConnection::Answer,
        };
        match manner {
            KeptConnection::Answer | KeptConnection::CloseUnannounced => Ok(false),
            KeptConnection::CloseUnread => Ok(true),
            KeptConnection::Swallow => {
                if let Some(request) = self.read_request::<D>()? {
                    D::discard(self, &request)?;
                }
                Ok(true)
            }
        }
    }

    /// Reads until a request is complete; `None` at the end of the stream.
    fn read_request<D: Dialogue>(&mut self) -> io::Result<Option<D::Request>> {
        let mut is_all = false;
        loop {
            if let Some((request, length)) = D::parse(&self.unread, is_all) {
                self.unread.drain(..length);
                return Ok(Some(request));
            }
            if is_all {
                return Ok(None);
            }
            if self.service.young == YoungConnection::CutHalf && !self.unread.is_empty() && self.is_cut()? {
                return Ok(None);
            }
            let mut piece = [0_u8; 4096];
            let length = self.stream.read(&mut piece)?;
            is_all = length == 0;
            self.unread.extend_from_slice(&piece[..length]);
        }
    }

    /// Whether the drain begins before more of a request arrives: the mistake of [`YoungConnection::CutHalf`] and
    /// [`crate::defect::LongBody::CutRequest`].
    pub(crate) fn is_cut(&self) -> io::Result<bool> {
        let signal = self.service.drain.signal();
        let mut entries = [poll::readable(&self.stream), poll::readable(&signal)];
        poll::until(&mut entries, None)?;
        Ok(!poll::fired(&entries[0]))
    }

    /// Closes the sending half, then reads and drops until the client closes, or makes no progress for [`LINGER`].
    fn linger(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let mut unsent = u64::MAX;
        let mut piece = vec![0_u8; 16 * 1024];
        let mut patience = Instant::now() + LINGER;
        loop {
            if poll::until(&mut [poll::readable(&self.stream)], Some(patience))? {
                if self.stream.read(&mut piece)? == 0 {
                    return Ok(());
                }
                continue;
            }
            // A slow reader is progress: as long as it takes bytes, an early close might reset what is still to be sent.
            let now_unsent = bytes_unsent(&self.stream);
            if now_unsent == 0 || now_unsent >= unsent {
                return Ok(());
            }
            unsent = now_unsent;
            patience = Instant::now() + LINGER;
        }
    }
}

/// SIOCOUTQ (tcp(7)): bytes that the peer has not acknowledged.
fn bytes_unsent(stream: &TcpStream) -> u64 {
    use std::os::fd::AsRawFd;
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (the same number as SIOCOUTQ) stores one int at the given address.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result < 0 { 0 } else { u64::try_from(count).unwrap_or(0) }
}
