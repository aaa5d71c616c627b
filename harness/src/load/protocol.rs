//! What is spoken on a connection: the bytes of a request, and who reads its answer. Nothing else in the load knows one protocol
//! from another.

use super::answer::{Answer, AnswerReader, HeaderNames, Progress, Sequence};
use super::echo::EchoReader;
use crate::manifest::Protocol;
use crate::target::TargetEndpoint;

/// Which request is sent.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    before_id: String,
    after_id: String,
}

impl Ask {
    /// A request of `path` that ends its connection, as far as the protocol can say so.
    pub(super) fn once(endpoint: &TargetEndpoint, path: &str) -> Ask {
        Ask::new(endpoint, ("GET", path), "\r\nConnection: close\r\n\r\n")
    }

    /// A request of `path` that leaves its connection open.
    pub(super) fn kept(endpoint: &TargetEndpoint, path: &str) -> Ask {
        Ask::new(endpoint, ("GET", path), "\r\n\r\n")
    }

    /// The head of a POST to `path` with a body of this length, that ends its connection.
    pub(super) fn post(endpoint: &TargetEndpoint, path: &str, bytes: usize) -> Ask {
        Ask::new(endpoint, ("POST", path), &format!("\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"))
    }

    fn new(endpoint: &TargetEndpoint, (method, path): (&str, &str), after_id: &str) -> Ask {
        match endpoint.protocol {
            Protocol::Http1 => {
                let before_id = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nX-Request-Id: ", endpoint.address);
                Ask { before_id, after_id: after_id.to_owned() }
            }
            Protocol::Echo => Ask { before_id: format!("{path} "), after_id: "\n".to_owned() },
        }
    }

    /// Half of the bytes before the request id: no server can answer that.
    pub(super) fn half(&self) -> usize {
        self.before_id.len() / 2
    }

    pub(super) fn bytes(&self, id: u64) -> Vec<u8> {
        format!("{}{id}{}", self.before_id, self.after_id).into_bytes()
    }
}

/// How the answers of one endpoint are read.
#[derive(Debug)]
pub(super) enum Answers {
    /// HTTP/1.1, with these headers.
    Http(HeaderNames),
    /// The request itself.
    Echo,
}

impl Answers {
    /// Those of this endpoint.
    pub(super) fn of(endpoint: &TargetEndpoint) -> Answers {
        match endpoint.protocol {
            Protocol::Http1 => {
                let (version, echo) = (endpoint.version_header.clone(), endpoint.echo_header.clone());
                Answers::Http(HeaderNames { version, echo })
            }
            Protocol::Echo => Answers::Echo,
        }
    }

    /// For the answer to `ask` with this id.
    pub(super) fn reader(&self, ask: &Ask, id: u64) -> Reader<'_> {
        match self {
            Answers::Http(names) => Reader::Http(AnswerReader::new(names, id)),
            Answers::Echo => Reader::Echo(EchoReader::new(ask.bytes(id))),
        }
    }
}

/// The state of one answer being read.
#[derive(Debug)]
pub(super) enum Reader<'a> {
    /// HTTP/1.1.
    Http(AnswerReader<'a>),
    /// Raw echo.
    Echo(EchoReader),
}

impl<'a> Reader<'a> {
    /// The same where the body must be this sequence; raw echo has no body.
    pub(super) fn expecting(self, sequence: Sequence) -> Reader<'a> {
        match self {
            Reader::Http(reader) => Reader::Http(reader.expecting(sequence)),
            Reader::Echo(_) => self,
        }
    }

    /// What is wrong with the body of a whole answer, where a sequence was expected.
    pub(super) fn body_problem(&self) -> Option<String> {
        match self {
            Reader::Http(reader) => reader.body_problem(),
            Reader::Echo(_) => None,
        }
    }

    /// What the answer said, as soon as that is known.
    pub(super) fn answer(&self) -> Option<Answer> {
        match self {
            Reader::Http(reader) => reader.answer(),
            Reader::Echo(reader) => reader.answer(),
        }
    }

    /// Nothing of it is to come.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Reader::Http(reader) => reader.is_whole(),
            Reader::Echo(reader) => reader.is_whole(),
        }
    }

    /// The end of the stream makes it whole.
    pub(super) fn ends_with_stream(&self) -> bool {
        match self {
            Reader::Http(reader) => reader.ends_with_stream(),
            Reader::Echo(_) => false,
        }
    }

    /// Its beginning may come before its request is whole.
    pub(super) fn may_begin_early(&self) -> bool {
        matches!(self, Reader::Echo(_))
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Progress {
        match self {
            Reader::Http(reader) => reader.feed(bytes),
            Reader::Echo(reader) => reader.feed(bytes),
        }
    }

    /// What an answer is that is [`Progress::Malformed`].
    pub(super) fn malformed(&self) -> &'static str {
        match self {
            Reader::Http(_) => "not HTTP",
            Reader::Echo(_) => "other bytes than were sent",
        }
    }
}
