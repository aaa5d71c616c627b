//! The class of a failure, from what the socket said: the table of failure classes as one pure function.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::kernel::tcp::{TcpInfo, TcpState};
use crate::request::{FailureClass, SocketEvidence};

/// A class and the evidence behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: FailureClass,
    pub(super) evidence: SocketEvidence,
}

impl Failure {
    /// One that no errno tells, in words.
    pub(super) fn told(class: FailureClass, what: impl Into<String>) -> Failure {
        let evidence = SocketEvidence { signal: what.into(), state: String::new(), request_bytes_acked: 0 };
        Failure { class, evidence }
    }

    /// With the connection's state at that instant, where the kernel tells, and so many bytes of the request acknowledged.
    pub(super) fn seen(mut self, state: Option<TcpState>, acked: u64) -> Failure {
        state.map_or("", TcpState::name).clone_into(&mut self.evidence.state);
        self.evidence.request_bytes_acked = acked;
        self
    }
}

/// What ended a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// The peer's FIN.
    Eof,
    /// The first error of the connection.
    Errno(Errno),
    /// The request's deadline.
    Deadline,
}

impl From<&io::Error> for Signal {
    fn from(error: &io::Error) -> Signal {
        Signal::Errno(Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Eof => f.write_str("EOF"),
            Signal::Errno(errno) => write!(f, "{errno:?}"),
            Signal::Deadline => f.write_str("deadline"),
        }
    }
}

/// Where a request stood when its connection failed it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// What ended it.
    pub(super) signal: Signal,
    /// The connection carried a request before.
    pub(super) reused: bool,
    /// Bytes of this request given to the kernel.
    pub(super) sent: u64,
    /// Bytes of it that the peer's kernel had acknowledged at that instant.
    pub(super) acked: u64,
    /// Bytes of answer read.
    pub(super) received: u64,
    /// The connection's state at that instant, where the kernel told; a UNIX socket has none.
    pub(super) state: Option<TcpState>,
}

impl Loss {
    /// The class, by the rows of the table from the top.
    pub(super) fn class(&self) -> FailureClass {
        match self.signal {
            // ETIMEDOUT on an open connection: the peer's kernel is silent, just as by the deadline.
            Signal::Deadline | Signal::Errno(Errno::ETIMEDOUT) => FailureClass::Hung,
            _ if self.received > 0 => FailureClass::Truncated,
            // A FIN found before the write on a reused connection is a clean close and never comes here: what is left
            // is a reset, also when it came after a FIN (EPIPE).
            // On a UNIX socket it is the close itself, between our look and our write.
            Signal::Errno(Errno::EPIPE) if self.reused && self.state.is_none() => FailureClass::Crossed,
            _ if self.sent == 0 && self.reused => FailureClass::IdleReset,
            Signal::Eof if self.sent == 0 => FailureClass::ClosedBeforeFirstByte,
            _ if !self.reused => FailureClass::Dropped,
            // EPIPE is ECONNRESET after a FIN (tcp_reset in net/ipv4/tcp_input.c): the same story as EOF.
            Signal::Eof | Signal::Errno(Errno::EPIPE) if self.acked < self.sent => FailureClass::Crossed,
            // A FIN that acknowledged the request, and a RST behind it (a FIN alone leaves CLOSE_WAIT): the server shut its
            // side down, and closed with the request in its queue (TCPAbortOnClose).
            Signal::Eof | Signal::Errno(Errno::EPIPE) if self.state == Some(TcpState::Close) => FailureClass::Unread,
            Signal::Eof | Signal::Errno(Errno::EPIPE) => FailureClass::Taken,
            Signal::Errno(_) => FailureClass::Unread,
        }
    }

    /// The class with its evidence.
    pub(super) fn failure(&self) -> Failure {
        Failure::told(self.class(), self.signal.to_string()).seen(self.state, self.acked)
    }
}

/// The failure of a connect(2), or of what comes before it. `info` is absent where there was no socket.
pub(super) fn connect_failure(signal: Signal, info: Option<TcpInfo>) -> Failure {
    let class = match signal {
        // Who unlinks a UNIX socket before the next one is bound refuses as surely as who closes it.
        Signal::Errno(Errno::ECONNREFUSED | Errno::ENOENT) => FailureClass::Refused,
        Signal::Errno(Errno::ECONNRESET) => FailureClass::HandshakeReset,
        Signal::Deadline | Signal::Errno(Errno::ETIMEDOUT) => FailureClass::ConnectTimeout,
        // EMFILE, EADDRNOTAVAIL, ENETUNREACH …: nothing of this is the target's doing.
        Signal::Eof | Signal::Errno(_) => FailureClass::HarnessFault,
    };
    // After a failed connect there is no connection, and CLOSE would only say so.
    let state = info.map(|info| info.state).filter(|state| *state != TcpState::Close);
    Failure::told(class, signal.to_string()).seen(state, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: bool = false;
    const REUSED: bool = true;

    fn check(reused: bool, [sent, acked, received]: [u64; 3], signal: Signal, want: FailureClass) {
        let state = Some(if signal == Signal::Eof { TcpState::CloseWait } else { TcpState::Close });
        let loss = Loss { signal, reused, sent, acked, received, state };
        assert_eq!(loss.class(), want, "{loss:?}");
    }

    #[test]
    fn a_reset_behind_the_fin_says_that_the_request_lay_unread() {
        let class = |acked, state| {
            Loss { signal: Signal::Eof, reused: true, sent: 90, acked, received: 0, state: Some(state) }.class()
        };
        assert_eq!(class(90, TcpState::Close), FailureClass::Unread);
        assert_eq!(class(90, TcpState::CloseWait), FailureClass::Taken);
        assert_eq!(class(0, TcpState::Close), FailureClass::Crossed);
    }

    #[test]
    fn a_fresh_connection_has_no_excuse() {
        let reset = Signal::Errno(Errno::ECONNRESET);
        check(FRESH, [90, 90, 0], Signal::Eof, FailureClass::Dropped);
        check(FRESH, [90, 0, 0], reset, FailureClass::Dropped);
        check(FRESH, [0, 0, 0], reset, FailureClass::Dropped);
        check(FRESH, [90, 0, 0], Signal::Errno(Errno::EPIPE), FailureClass::Dropped);
        check(FRESH, [0, 0, 0], Signal::Eof, FailureClass::ClosedBeforeFirstByte);
    }

    #[test]
    fn a_reused_connection_is_told_apart_by_the_kernel() {
        let reset = Signal::Errno(Errno::ECONNRESET);
        check(REUSED, [90, 0, 0], Signal::Eof, FailureClass::Crossed);
        check(REUSED, [90, 0, 0], Signal::Errno(Errno::EPIPE), FailureClass::Crossed);
        check(REUSED, [90, 90, 0], Signal::Eof, FailureClass::Taken);
        check(REUSED, [90, 0, 0], reset, FailureClass::Unread);
        check(REUSED, [90, 90, 0], reset, FailureClass::Unread);
        check(REUSED, [0, 0, 0], reset, FailureClass::IdleReset);
    }

    #[test]
    fn a_unix_socket_tells_a_close_before_the_write_from_one_after_it() {
        let class = |signal, sent| Loss { signal, reused: true, sent, acked: sent, received: 0, state: None }.class();
        assert_eq!(class(Signal::Errno(Errno::EPIPE), 0), FailureClass::Crossed);
        assert_eq!(class(Signal::Errno(Errno::ECONNRESET), 90), FailureClass::Unread);
        assert_eq!(class(Signal::Errno(Errno::ECONNRESET), 0), FailureClass::IdleReset);
        assert_eq!(class(Signal::Eof, 90), FailureClass::Taken);
    }

    #[test]
    fn a_begun_answer_is_truncated_and_a_deadline_hangs() {
        check(FRESH, [90, 90, 5], Signal::Eof, FailureClass::Truncated);
        check(REUSED, [90, 90, 5], Signal::Errno(Errno::ECONNRESET), FailureClass::Truncated);
        check(REUSED, [90, 90, 5], Signal::Deadline, FailureClass::Hung);
        check(FRESH, [90, 90, 0], Signal::Deadline, FailureClass::Hung);
    }

    #[test]
    fn want_of_our_own_resources_is_never_a_drop() {
        let class = |errno| connect_failure(Signal::Errno(errno), None).class;
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::EADDRINUSE, Errno::EADDRNOTAVAIL, Errno::ENOBUFS] {
            assert_eq!(class(errno), FailureClass::HarnessFault, "{errno}");
        }
        assert_eq!(class(Errno::ECONNREFUSED), FailureClass::Refused);
        assert_eq!(class(Errno::ENOENT), FailureClass::Refused);
        assert_eq!(class(Errno::ECONNRESET), FailureClass::HandshakeReset);
        assert_eq!(class(Errno::ETIMEDOUT), FailureClass::ConnectTimeout);
        assert_eq!(connect_failure(Signal::Deadline, None).class, FailureClass::ConnectTimeout);
    }
}
