//! One request of the load: when it was meant, what the socket said at each stage, and how it ended.
//!
//! The failure classes are told apart by stage, errno or EOF, fresh or reused connection, and for a request lost on a
//! reused connection by the kernel's own account of it (bytes acknowledged, state), never by milliseconds.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::{Interval, Nanos};
use crate::id::Version;

/// A traffic pattern; each has its floor, below which a verdict is inconclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// A fresh connection per request.
    Fresh,
    /// A kept connection, reused after a think time with jitter.
    Busy,
    /// A fresh connection whose request takes long: in flight at the trigger.
    Slow,
    /// A kept connection that is silent for about a second after each answer, and then used again.
    Idle,
    /// A connection whose first request comes 0.3 to 1.5 s after its handshake.
    Silent,
    /// A connection that sends half a request head, or half a line, at once and the rest 0.3 to 1.5 s later.
    Half,
    /// A client with a small receive buffer that reads a long answer slowly until the upgrade is done, then the rest.
    Reader,
    /// A request whose body is sent slowly until the upgrade is done, then the rest.
    Upload,
    /// A connection completed but not yet accepted (the server is stalled); its request is sent at once.
    Parked,
    /// A connection whose handshake lacks its last ACK at the trigger; its request is sent after the upgrade, and completes it.
    HalfOpen,
    /// A stream of an HTTP/2 connection that carries others beside it.
    H2,
    /// A connection with a TLS handshake and one request, which comes back with the session of the one before.
    Tls,
    /// A message on a WebSocket that is kept, or the handshake that opens it.
    Websocket,
    /// A datagram of a flow: one of some UDP sockets that each send one now and then.
    Flow,
    /// Requests to the canary, a listener of our own: the noise of the machine, never of the target.
    Canary,
}

impl Pattern {
    /// The word as it stands in scenarios and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Pattern::Fresh => "fresh",
            Pattern::Busy => "busy",
            Pattern::Slow => "slow",
            Pattern::Idle => "idle",
            Pattern::Silent => "silent",
            Pattern::Half => "half",
            Pattern::Reader => "reader",
            Pattern::Upload => "upload",
            Pattern::Parked => "parked",
            Pattern::HalfOpen => "half-open",
            Pattern::H2 => "h2",
            Pattern::Tls => "tls",
            Pattern::Websocket => "websocket",
            Pattern::Flow => "flow",
            Pattern::Canary => "canary",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a request failed: the table of failure classes, one variant a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// socket or bind failed for want of our own resources (EMFILE, EADDRINUSE, EADDRNOTAVAIL): never a drop.
    HarnessFault,
    /// connect: ECONNREFUSED. Of a datagram: nobody has the port (ICMP).
    Refused,
    /// connect: reset during the handshake.
    HandshakeReset,
    /// connect: no handshake by the deadline, or ETIMEDOUT.
    ConnectTimeout,
    /// Fresh connection, request sent, not one response byte: RST, EPIPE or EOF. No RFC excuses it.
    Dropped,
    /// Fresh connection, nothing sent: FIN before the first byte.
    ClosedBeforeFirstByte,
    /// An answer that nobody asked for (408), then close.
    UnsolicitedAnswer,
    /// No response by the deadline.
    Hung,
    /// Fewer bytes than Content-Length, or no last chunk (RFC 9112 §8); of an echo, fewer than were sent.
    Truncated,
    /// Reused connection, idle, nothing sent: RST.
    IdleReset,
    /// Reused, request sent, no response byte: EOF, and at that instant not all of the request acknowledged: the FIN
    /// left before the request arrived (server counts TCPAbortOnData).
    Crossed,
    /// Reused, request sent, no response byte: ECONNRESET without a FIN: the request lay in the server's queue when it
    /// closed (server counts TCPAbortOnClose).
    Unread,
    /// Reused, request sent, no response byte: EOF, CLOSE_WAIT, all acknowledged: read, and answered with nothing.
    Taken,
    /// HTTP/2: above the last stream of a GOAWAY, or REFUSED_STREAM: never looked at, and safe to send again (RFC 9113 §8.7).
    StreamRefused,
    /// TLS: an alert, or what is no TLS.
    Tls,
    /// WebSocket: a close frame came instead of the answer; the message crossed it, and its client knows (RFC 6455 §5.5.1).
    CloseFrame,
    /// WebSocket: the connection ended without a close frame (RFC 6455 §7.1.5: 1006).
    NoCloseFrame,
    /// Datagram: no answer by the deadline, although a later one of its flow was answered.
    Lost,
    /// Not HTTP, a wrong request id, or a wrong body; of an echo, other bytes than were sent.
    WrongAnswer,
    /// Status 5xx.
    ServerError,
}

impl FailureClass {
    /// The word as it stands in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            FailureClass::HarnessFault => "harness-fault",
            FailureClass::Refused => "refused",
            FailureClass::HandshakeReset => "handshake-reset",
            FailureClass::ConnectTimeout => "connect-timeout",
            FailureClass::Dropped => "dropped",
            FailureClass::ClosedBeforeFirstByte => "closed-before-first-byte",
            FailureClass::UnsolicitedAnswer => "unsolicited-answer",
            FailureClass::Hung => "hung",
            FailureClass::Truncated => "truncated",
            FailureClass::IdleReset => "idle-reset",
            FailureClass::Crossed => "crossed",
            FailureClass::Unread => "unread",
            FailureClass::Taken => "taken",
            FailureClass::StreamRefused => "stream-refused",
            FailureClass::Tls => "tls",
            FailureClass::CloseFrame => "close-frame",
            FailureClass::NoCloseFrame => "no-close-frame",
            FailureClass::Lost => "lost",
            FailureClass::WrongAnswer => "wrong-answer",
            FailureClass::ServerError => "server-error",
        }
    }

    /// It rests on a duration, which a machine that stands still makes longer: nothing happened by a deadline of ours,
    /// or nothing by one of the server's.
    #[must_use]
    pub fn rests_on_time(self) -> bool {
        matches!(self, FailureClass::Hung | FailureClass::ConnectTimeout) || self.rests_on_patience()
    }

    /// It rests on a deadline of the server's, who closes a connection whose client says nothing.
    #[must_use]
    pub fn rests_on_patience(self) -> bool {
        self == FailureClass::ClosedBeforeFirstByte
    }

    /// A new connection that the service owed: refused, reset in handshake or timed out.
    #[must_use]
    pub fn is_connect_failure(self) -> bool {
        matches!(self, FailureClass::Refused | FailureClass::HandshakeReset | FailureClass::ConnectTimeout)
    }
}

impl FailureClass {
    /// A fresh connection that ended without one byte of answer.
    #[must_use]
    pub fn is_drop(self) -> bool {
        matches!(self, FailureClass::Dropped | FailureClass::ClosedBeforeFirstByte)
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What the socket said when a request failed: the evidence behind the class. Reading SO_ERROR consumes it, so the
/// first error of each connection is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketEvidence {
    /// What ended it: "EOF", an errno's name such as "ECONNRESET", or "deadline".
    pub signal: String,
    /// TCP state at that instant by TCP_INFO ("CLOSE_WAIT"); empty where there was no connection.
    pub state: String,
    /// Bytes of this request that the peer's kernel had acknowledged at that instant.
    pub request_bytes_acked: u64,
}

/// A TLS session, once its handshake was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSession {
    /// The version that answered the client's last connection, where it came back with a ticket: that is from there.
    pub comes_from: Option<Version>,
    /// The server resumed the session of that ticket.
    pub resumed: bool,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Answered whole, with the right id.
    Answered {
        /// HTTP status; raw echo has none.
        status: Option<u16>,
        /// The version that the answer carried, where the manifest says how answers carry it.
        version: Option<Version>,
        /// The answer announced the close of its connection (`Connection: close`).
        close_announced: bool,
    },
    /// Failed.
    Failed {
        /// The class.
        class: FailureClass,
        /// What the socket said.
        evidence: SocketEvidence,
    },
}

/// One request, from the instant it was meant to be sent. All instants are stamped at the system call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Unique within the run; sent as `X-Request-Id`, or in the line to be echoed.
    pub id: u64,
    /// The pattern that sent it.
    pub pattern: Pattern,
    /// Index of the endpoint in the manifest.
    pub endpoint: usize,
    /// The connection it travelled on, or the flow that it belongs to, unique within the run.
    pub connection: u64,
    /// Our port of that connection; 0 when there was none.
    pub local_port: u16,
    /// 0 for the first request of its connection.
    pub nth_on_connection: u32,
    /// When the open-loop schedule meant it to be sent. Latency counts from here.
    pub intended: Nanos,
    /// When its work began: connect(2) for the first request of a connection, else the write.
    pub began: Nanos,
    /// When the handshake was complete (first request of a connection only).
    pub connected: Option<Nanos>,
    /// When its last byte had been given to the kernel.
    pub sent: Option<Nanos>,
    /// When the first byte of the answer was read.
    pub first_byte: Option<Nanos>,
    /// When it was answered whole or failed.
    pub ended: Nanos,
    /// Bytes of request given to the kernel.
    pub bytes_sent: u64,
    /// Bytes of answer read.
    pub bytes_received: u64,
    /// SYN and data retransmissions of the connection at the end of this request (tcpi_total_retrans).
    pub retransmits: u32,
    /// Its TLS session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSession>,
    /// How it ended.
    pub ending: Ending,
}

impl Request {
    /// The failure class, or `None` when answered.
    #[must_use]
    pub fn failure(&self) -> Option<FailureClass> {
        match &self.ending {
            Ending::Answered { .. } => None,
            Ending::Failed { class, .. } => Some(*class),
        }
    }

    /// The version that answered, where it is known.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match &self.ending {
            Ending::Answered { version, .. } => *version,
            Ending::Failed { .. } => None,
        }
    }

    /// Connected before `moment` began, still open then, and its request not yet sent whole when it was over. One that was
    /// lost while the moment lasted belongs to it: what is triggered may take effect before the trigger's end is noted.
    #[must_use]
    pub fn pauses_at(&self, moment: Interval) -> bool {
        let connected = self.connected.is_some_and(|connected| connected < moment.not_before);
        connected && self.ended > moment.not_before && self.sent.is_none_or(|sent| sent > moment.not_after)
    }

    /// Sent, and not yet ended, at `instant`.
    #[must_use]
    pub fn in_flight_at(&self, instant: Nanos) -> bool {
        self.sent.is_some_and(|sent| sent <= instant) && self.ended > instant
    }
}

/// What the load driver counted beside the records: the other side of the conservation law
/// scheduled = ended (answered + every failure class) + in flight (0 at the end).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadAccount {
    /// Requests that the schedule meant to send.
    pub scheduled: u64,
    /// Requests that ended, in whatever way.
    pub ended: u64,
    /// Kept connections that the server closed while idle (a clean FIN, nothing lost).
    pub idle_closes: u64,
    /// Closes of a kept connection that followed an answer without `Connection: close`, where an answer can carry it.
    pub unannounced_closes: u64,
    /// Connections that we closed with unread bytes (they move the server-side abort counters of our namespace).
    pub own_aborts: u64,
    /// Close frames of WebSockets that the server closed, by their code; 1005 stands for none (RFC 6455 §7.4.1).
    #[serde(default)]
    pub close_codes: BTreeMap<u16, u64>,
    /// HTTP/2 connections that the server ended.
    #[serde(default)]
    pub h2_ends: u64,
    /// Those of them that a GOAWAY announced.
    #[serde(default)]
    pub h2_goaways: u64,
    /// Datagrams that answer none that was waited for: a second answer, or one that came too late.
    #[serde(default)]
    pub unpaired_datagrams: u64,
    /// Lateness of the schedule: send time minus intended time, in nanoseconds.
    pub lateness_p50: u64,
    /// Same, 99th percentile.
    pub lateness_p99: u64,
    /// Same, the largest.
    pub lateness_max: u64,
}
