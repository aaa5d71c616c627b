//! One connection: handshake, requests one after another, and the evidence when it fails.

use std::io;
use std::net::SocketAddr;

use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Progress};
use super::failure::{Failure, Loss, Signal, connect_failure};
use super::ledger::{Attempt, Ledger};
use super::protocol::Reader;
use super::schedule::SIP_BYTES;
use crate::kernel::stream::Peek;
use crate::kernel::tcp::{SYN_BYTES, TcpInfo, TcpSocket, TcpState};
use crate::request::FailureClass;

/// Bytes taken by one read: most answers whole, slow bodies in few calls.
const READ_BYTES: usize = 16 * 1024;
/// Bytes that nobody asked for and that are read away before a close, so that it is no abort. More is an abort, counted.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// A connection that was opened and not yet closed.
#[derive(Debug)]
pub(super) struct Connection {
    socket: AsyncFd<TcpSocket>,
    id: u64,
    local_port: u16,
    /// Requests begun on it.
    requests: u32,
    /// Bytes of earlier requests given to the kernel.
    sent_before: u64,
}

/// What a look at a connection between two requests found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Idle {
    /// Open and silent.
    Quiet,
    /// The peer's FIN: nothing is lost.
    Closed,
    /// Reset, or bytes that nobody asked for.
    Broken(Failure),
}

impl Connection {
    /// Connects; fills the attempt's connection fields and stamps. The attempt becomes the first of this connection.
    ///
    /// # Errors
    /// The failure to record, the harness's own included.
    pub(super) async fn open(
        (to, receive_buffer): (SocketAddr, Option<usize>),
        deadline: Instant,
        attempt: &mut Attempt,
        ledger: &Ledger,
    ) -> Result<Connection, Failure> {
        let id = ledger.connection();
        attempt.connection = id;
        let ours = |error: &io::Error| connect_failure(Signal::from(error), None);
        let socket = TcpSocket::open(to).map_err(|error| ours(&error))?;
        if let Some(bytes) = receive_buffer {
            socket.bound_receive_buffer(bytes).map_err(|error| ours(&error))?;
        }
        attempt.began = ledger.clock.now();
        socket.connect(to).map_err(|error| ours(&error))?;
        attempt.local_port = socket.local_port().unwrap_or(0);
        let failed = |signal: Signal, socket: &TcpSocket, attempt: &mut Attempt| {
            let info = socket.info().ok();
            attempt.note(info);
            connect_failure(signal, info)
        };
        // On loopback the handshake is usually over by now, one way or the other.
        let complete = socket.handshake().map_err(|error| failed(Signal::from(&error), &socket, attempt))?;
        if complete {
            attempt.connected = Some(ledger.clock.now());
        }
        let socket = socket.register().map_err(|error| ours(&error))?;
        if !complete {
            match timeout_at(deadline, handshaken(&socket)).await {
                Ok(Ok(())) => attempt.connected = Some(ledger.clock.now()),
                Ok(Err(error)) => return Err(failed(Signal::from(&error), socket.get_ref(), attempt)),
                Err(_) => return Err(failed(Signal::Deadline, socket.get_ref(), attempt)),
            }
        }
        Ok(Connection { local_port: attempt.local_port, socket, id, requests: 0, sent_before: 0 })
    }

    /// Makes this connection the one that the attempt travels on.
    pub(super) fn carry(&mut self, attempt: &mut Attempt) {
        attempt.connection = self.id;
        attempt.local_port = self.local_port;
        attempt.nth_on_connection = self.requests;
        self.requests += 1;
    }

    /// Looks for a FIN, a reset or bytes between two requests, without waiting.
    pub(super) fn look(&self) -> Idle {
        self.understand(self.socket.get_ref().peek())
    }

    /// Waits until a look finds something. Dropping the future loses nothing.
    pub(super) async fn disturbed(&self) -> Idle {
        self.understand(self.disturbance().await)
    }

    /// Waits until bytes, an end or an error have come, and leaves them there. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The error.
    pub(super) async fn disturbance(&self) -> io::Result<Peek> {
        loop {
            return match self.socket.readable().await {
                Ok(mut ready) => match ready.try_io(|socket| match socket.get_ref().peek() {
                    // Only a would-block makes the runtime wait for news.
                    Ok(Peek::Quiet) => Err(io::ErrorKind::WouldBlock.into()),
                    other => other,
                }) {
                    Ok(peeked) => peeked,
                    Err(_would_block) => continue,
                },
                Err(error) => Err(error),
            };
        }
    }

    /// Leaves the connection alone until `resume`, in the middle of a request or before its first byte. What happens to
    /// it meanwhile, or is found right before the next write, ends the request; but what has been sent may be answered.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) async fn pause(
        &self,
        resume: impl Future<Output = ()>,
        reader: &mut Reader<'_>,
        attempt: &mut Attempt,
        ledger: &Ledger,
    ) -> Result<(), Failure> {
        let mut resume = std::pin::pin!(resume);
        let mut over = false;
        loop {
            let found = tokio::select! {
                biased;
                disturbed = self.disturbance(), if !over => disturbed,
                () = &mut resume, if !over => {
                    over = true;
                    self.socket.get_ref().peek()
                }
                else => self.socket.get_ref().peek(),
            };
            match found {
                Ok(Peek::Quiet) => return Ok(()),
                Ok(Peek::Closed) => return Err(self.lost(Signal::Eof, attempt)),
                Ok(Peek::Bytes) if reader.may_begin_early() && attempt.bytes_received < attempt.bytes_sent => {
                    self.sip(reader, attempt, ledger)?;
                    if attempt.bytes_received > attempt.bytes_sent {
                        return Err(self.unsolicited());
                    }
                }
                Ok(Peek::Bytes) => return Err(self.unsolicited()),
                Err(error) => return Err(self.lost(Signal::from(&error), attempt)),
            }
        }
    }

    /// Reads what has come, without waiting.
    ///
    /// # Errors
    /// Would block, or the connection's error.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.get_ref().read(buffer)
    }

    /// Gives the kernel some bytes, if it has room: whether it takes them is told by what comes back.
    pub(super) fn write_now(&self, bytes: &[u8]) {
        let _ = self.socket.get_ref().write(bytes);
    }

    /// Reads what comes next for an attempt, at least a byte.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) async fn read_some(
        &self,
        buffer: &mut [u8],
        deadline: Instant,
        attempt: &mut Attempt,
        ledger: &Ledger,
    ) -> Result<usize, Failure> {
        let read = async {
            loop {
                let mut ready = self.socket.readable().await?;
                if let Ok(read) = ready.try_io(|socket| socket.get_ref().read(buffer)) {
                    return read;
                }
            }
        };
        match timeout_at(deadline, read).await {
            Ok(Ok(0)) => Err(self.lost(Signal::Eof, attempt)),
            Ok(Ok(length)) => {
                attempt.first_byte.get_or_insert_with(|| ledger.clock.now());
                attempt.bytes_received += length as u64;
                Ok(length)
            }
            Ok(Err(error)) => Err(self.lost(Signal::from(&error), attempt)),
            Err(_) => Err(self.lost(Signal::Deadline, attempt)),
        }
    }

    /// The attempt was answered whole: the connection can carry another one.
    pub(super) fn answered(&mut self, attempt: &mut Attempt) {
        attempt.note(self.info());
        self.sent_before += attempt.bytes_sent;
    }

    /// It has ended between two requests: by an error, or by the peer's FIN.
    pub(super) fn broken(&self, error: Option<&io::Error>, class: FailureClass) -> Failure {
        Failure::told(class, error.map_or(Signal::Eof, Signal::from).to_string()).seen(self.state(), 0)
    }

    fn understand(&self, peeked: io::Result<Peek>) -> Idle {
        match peeked {
            Ok(Peek::Quiet) => Idle::Quiet,
            Ok(Peek::Closed) => Idle::Closed,
            Ok(Peek::Bytes) => Idle::Broken(self.unsolicited()),
            Err(error) => {
                let reused = self.requests > 0;
                let state = self.state();
                let loss = Loss { signal: Signal::from(&error), reused, sent: 0, acked: 0, received: 0, state };
                Idle::Broken(loss.failure())
            }
        }
    }

    /// Bytes came that are no answer to a request of ours.
    pub(super) fn unsolicited(&self) -> Failure {
        Failure::told(FailureClass::UnsolicitedAnswer, "bytes nobody asked for").seen(self.state(), 0)
    }

    /// A FIN came before the first request was sent.
    pub(super) fn closed_unused(&self) -> Failure {
        let state = self.info().map(|info| info.state);
        Loss { signal: Signal::Eof, reused: false, sent: 0, acked: 0, received: 0, state }.failure()
    }

    /// Gives a request to the kernel.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) async fn send(
        &mut self,
        bytes: &[u8],
        deadline: Instant,
        attempt: &mut Attempt,
        ledger: &Ledger,
    ) -> Result<(), Failure> {
        if attempt.nth_on_connection > 0 {
            attempt.began = ledger.clock.now();
        }
        self.give(bytes, deadline, attempt).await?;
        ledger.sent(attempt);
        Ok(())
    }

    /// Gives a part of a request to the kernel.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) async fn give(&self, bytes: &[u8], deadline: Instant, attempt: &mut Attempt) -> Result<(), Failure> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.socket.get_ref().write(left) {
                Ok(count) => {
                    attempt.bytes_sent += count as u64;
                    left = &left[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match timeout_at(deadline, self.writable()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Err(self.lost(Signal::from(&error), attempt)),
                        Err(_) => return Err(self.lost(Signal::Deadline, attempt)),
                    }
                }
                // The first error of the connection: reading on would only find what it left behind (a consumed
                // ECONNRESET reads as EOF). EPIPE here means that a FIN came before the RST.
                Err(error) => return Err(self.lost(Signal::from(&error), attempt)),
            }
        }
        Ok(())
    }

    async fn writable(&self) -> io::Result<()> {
        // The write was refused just now, so readiness from before it is stale.
        self.socket.writable().await?.clear_ready();
        self.socket.writable().await.map(|_| ())
    }

    /// Reads the answer until it is whole; the number of bytes behind it comes with it.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) async fn receive(
        &mut self,
        reader: &mut Reader<'_>,
        deadline: Instant,
        attempt: &mut Attempt,
        ledger: &Ledger,
    ) -> Result<(Answer, usize), Failure> {
        let whole = timeout_at(deadline, self.read_answer(reader, attempt, ledger)).await;
        let excess = match whole {
            Ok(Ok(excess)) => excess,
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(self.lost(Signal::Deadline, attempt)),
        };
        self.answered(attempt);
        match reader.answer() {
            Some(answer) => Ok((answer, excess)),
            None => Err(self.wrong(reader.malformed(), attempt)),
        }
    }

    async fn read_answer(
        &self,
        reader: &mut Reader<'_>,
        attempt: &mut Attempt,
        ledger: &Ledger,
    ) -> Result<usize, Failure> {
        // A slow reader may have read it whole.
        if reader.is_whole() {
            return Ok(0);
        }
        loop {
            let mut ready = self.socket.readable().await.map_err(|error| self.lost(Signal::from(&error), attempt))?;
            let mut buffer = [0u8; READ_BYTES];
            let Ok(read) = ready.try_io(|socket| socket.get_ref().read(&mut buffer)) else { continue };
            let read = read.map(|count| &buffer[..count]);
            if let Some(excess) = self.digest(read, reader, attempt, ledger)? {
                return Ok(excess);
            }
        }
    }

    /// Reads one small piece of the answer, if one is there; true when the answer is whole.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) fn sip(&self, reader: &mut Reader<'_>, attempt: &mut Attempt, ledger: &Ledger) -> Result<bool, Failure> {
        let mut buffer = [0u8; SIP_BYTES];
        match self.socket.get_ref().read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            read => {
                let read = read.map(|count| &buffer[..count]);
                Ok(self.digest(read, reader, attempt, ledger)?.is_some())
            }
        }
    }

    /// Takes what a read gave; the number of bytes behind the answer when it is whole.
    fn digest(
        &self,
        read: io::Result<&[u8]>,
        reader: &mut Reader<'_>,
        attempt: &mut Attempt,
        ledger: &Ledger,
    ) -> Result<Option<usize>, Failure> {
        match read {
            Ok([]) if reader.ends_with_stream() => Ok(Some(0)),
            Ok([]) => Err(self.lost(Signal::Eof, attempt)),
            Ok(bytes) => {
                attempt.first_byte.get_or_insert_with(|| ledger.clock.now());
                attempt.bytes_received += bytes.len() as u64;
                match reader.feed(bytes) {
                    Progress::More => Ok(None),
                    Progress::Whole { excess } => Ok(Some(excess)),
                    Progress::Malformed => Err(self.wrong(reader.malformed(), attempt)),
                }
            }
            Err(error) => Err(self.lost(Signal::from(&error), attempt)),
        }
    }

    /// The connection failed the attempt: the class from the kernel's view at this instant.
    fn lost(&self, signal: Signal, attempt: &mut Attempt) -> Failure {
        let info = self.info();
        attempt.note(info);
        let reused = attempt.nth_on_connection > 0;
        let (sent, received) = (attempt.bytes_sent, attempt.bytes_received);
        let (acked, state) = (self.acked(info, attempt), info.map(|info| info.state));
        Loss { signal, reused, sent, acked, received, state }.failure()
    }

    /// The answer came, and is wrong.
    pub(super) fn wrong(&self, what: &str, attempt: &mut Attempt) -> Failure {
        self.answered_badly(FailureClass::WrongAnswer, what, attempt)
    }

    /// The answer came, and is a failure of this class.
    pub(super) fn answered_badly(&self, class: FailureClass, what: &str, attempt: &mut Attempt) -> Failure {
        let info = self.info();
        attempt.note(info);
        let acked = self.acked(info, attempt).min(attempt.bytes_sent);
        Failure::told(class, what).seen(info.map(|info| info.state), acked)
    }

    /// Bytes of the attempt's request that the peer's kernel has acknowledged. Counted from what we gave it before,
    /// not from what it had acknowledged then: that ACK may still have been on its way.
    fn acked(&self, info: Option<TcpInfo>, attempt: &Attempt) -> u64 {
        let acked = info.map_or(0, |info| info.bytes_acked);
        acked.saturating_sub(SYN_BYTES + self.sent_before).min(attempt.bytes_sent)
    }

    fn state(&self) -> Option<TcpState> {
        self.info().map(|info| info.state)
    }

    fn info(&self) -> Option<TcpInfo> {
        self.socket.get_ref().info().ok()
    }

    /// Closes with FIN: unread bytes are read away first. Where more of them come than that, the kernel sends RST, and
    /// it is counted.
    pub(super) fn close(self, ledger: &Ledger) {
        let socket = self.socket.get_ref();
        let mut left = DRAIN_BYTES_MAX;
        let mut buffer = [0u8; READ_BYTES];
        while socket.unread().is_ok_and(|unread| unread > 0) && left > 0 {
            match socket.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
        if socket.unread().is_ok_and(|unread| unread > 0) {
            ledger.count(|account| account.own_aborts += 1);
        }
    }
}

async fn handshaken(socket: &AsyncFd<TcpSocket>) -> io::Result<()> {
    loop {
        let mut ready = socket.writable().await?;
        let done = ready.try_io(|socket| match socket.get_ref().handshake()? {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        });
        if let Ok(result) = done {
            return result;
        }
    }
}
