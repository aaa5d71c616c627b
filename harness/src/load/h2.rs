//! HTTP/2 with prior knowledge: streams side by side on kept connections (RFC 9113).
//!
//! | What happened to a stream | Class |
//! |---|---|
//! | it lay above the last one of a GOAWAY (§6.8), or was reset by REFUSED_STREAM (§8.7) | `stream-refused`: never looked at, and safe to send again |
//! | it was reset otherwise, or its connection ended, and nothing of an answer had come | `dropped` |
//! | the same in the middle of the answer | `truncated` |
//! | anything that was answered | as in HTTP/1.1 |
//!
//! What ends a connection is read twice: by the library, which tells what it means for each stream, and by a look at the heads of the
//! frames that pass, which tells whether there was a GOAWAY at all.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::crew::{Crew, asked};
use super::driver::LoadError;
use super::exchange::Exchange;
use super::failure::{Failure, Signal, connect_failure};
use super::ledger::Attempt;
use super::schedule::Ticker;
use crate::clock::Nanos;
use crate::id::Version;
use crate::request::{Ending, FailureClass, Pattern};
use crate::target::TargetEndpoint;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) to: SocketAddr,
    /// One after the other, over and over again: most are answered at once.
    pub(super) paths: Vec<String>,
    pub(super) version_header: Option<String>,
    pub(super) echo_header: Option<String>,
}

impl Wanted {
    /// Of an endpoint: three requests that are answered at once, and one that takes long, where there is one.
    pub(super) fn of(endpoint: &TargetEndpoint, to: SocketAddr) -> Wanted {
        let mut paths = vec![endpoint.path.clone(); 3];
        paths.extend(endpoint.slow.as_ref().map(|slow| slow.path.clone()));
        let (version_header, echo_header) = (endpoint.version_header.clone(), endpoint.echo_header.clone());
        Wanted { to, paths, version_header, echo_header }
    }
}

/// One place: a connection with streams on it, opened anew when it has ended.
#[derive(Debug)]
pub(super) struct Multiplexed {
    exchange: Rc<Exchange>,
    wanted: Rc<Wanted>,
    crew: Crew,
    ticker: Ticker,
    link: Option<Link>,
    begun: usize,
}

/// An open connection.
#[derive(Debug)]
struct Link {
    requests: SendRequest<Bytes>,
    id: u64,
    local_port: u16,
    streams: u32,
    /// We have ended it.
    ours: Rc<Cell<bool>>,
}

impl Multiplexed {
    /// A place without a connection yet.
    pub(super) fn new(exchange: Rc<Exchange>, wanted: Rc<Wanted>, crew: Crew, ticker: Ticker) -> Multiplexed {
        Multiplexed { exchange, wanted, crew, ticker, link: None, begun: 0 }
    }

    /// Begins streams on schedule until asked to stop; those that are open then are awaited by the crew.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let tick = tokio::select! {
                biased;
                () = asked(&mut stop) => break,
                tick = self.ticker.tick() => tick,
            };
            match tick {
                Ok(intended) => self.begin(intended).await,
                Err(error) => {
                    self.exchange.ledger.fault(LoadError::Timer(error));
                    break;
                }
            }
        }
        if let Some(link) = self.link.take() {
            link.ours.set(true);
        }
    }

    async fn begin(&mut self, intended: Nanos) {
        let exchange = Rc::clone(&self.exchange);
        let mut attempt = exchange.ledger.schedule(Pattern::H2, intended, Nanos(0));
        let deadline = exchange.deadline();
        match self.send(&mut attempt, deadline).await {
            Ok(response) => {
                exchange.ledger.sent(&mut attempt);
                exchange.ledger.gauges.opened(Pattern::H2);
                let wanted = Rc::clone(&self.wanted);
                self.crew.spawn(async move {
                    let ending = answered(response, &wanted, &mut attempt, deadline, &exchange).await;
                    exchange.ledger.gauges.closed(Pattern::H2);
                    exchange.ledger.end(attempt, ending);
                });
            }
            Err(failure) => exchange.ledger.end(attempt, Err(failure)),
        }
    }

    /// A stream on the connection that there is, if that takes one more, else on a new one.
    async fn send(&mut self, attempt: &mut Attempt, deadline: Instant) -> Result<ResponseFuture, Failure> {
        let path = &self.wanted.paths[self.begun % self.wanted.paths.len()];
        self.begun += 1;
        let request = Request::builder()
            .uri(format!("http://{}{path}", self.wanted.to))
            .header("x-request-id", attempt.id)
            .body(())
            .map_err(|error| Failure::told(FailureClass::HarnessFault, error.to_string()))?;
        let mut link = match self.link.take() {
            Some(Link { requests, id, local_port, streams, ours }) => {
                match timeout_at(deadline, requests.ready()).await {
                    Ok(Ok(requests)) => Link { requests, id, local_port, streams, ours },
                    Ok(Err(_ended)) => self.open(attempt, deadline).await?,
                    Err(_) => return Err(Failure::told(FailureClass::Hung, "deadline")),
                }
            }
            None => self.open(attempt, deadline).await?,
        };
        (attempt.connection, attempt.local_port, attempt.nth_on_connection) = (link.id, link.local_port, link.streams);
        link.streams += 1;
        let sent = link.requests.send_request(request, true);
        let (response, _body) = sent.map_err(|error| lost(&error, attempt))?;
        self.link = Some(link);
        Ok(response)
    }

    async fn open(&self, attempt: &mut Attempt, deadline: Instant) -> Result<Link, Failure> {
        let ledger = &self.exchange.ledger;
        let id = ledger.connection();
        attempt.connection = id;
        attempt.began = ledger.clock.now();
        let refused = |error: &io::Error| connect_failure(Signal::from(error), None);
        let stream = match timeout_at(deadline, TcpStream::connect(self.wanted.to)).await {
            Ok(stream) => stream.map_err(|error| refused(&error))?,
            Err(_) => return Err(connect_failure(Signal::Deadline, None)),
        };
        attempt.connected = Some(ledger.clock.now());
        let local_port = stream.local_addr().map_or(0, |address| address.port());
        stream.set_nodelay(true).map_err(|error| refused(&error))?;
        let (goaway, ours) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let tap = Tap::new(stream, Rc::clone(&goaway));
        let (requests, connection) = match timeout_at(deadline, h2::client::handshake(tap)).await {
            Ok(open) => open.map_err(|error| lost(&error, attempt))?,
            Err(_) => return Err(Failure::told(FailureClass::Hung, "deadline")),
        };
        let (exchange, is_ours) = (Rc::clone(&self.exchange), Rc::clone(&ours));
        self.crew.spawn(async move {
            // What it means for each stream is told there.
            let _ended = connection.await;
            if !is_ours.get() {
                exchange.ledger.count(|account| {
                    account.h2_ends += 1;
                    account.h2_goaways += u64::from(goaway.get());
                });
            }
        });
        Ok(Link { requests, id, local_port, streams: 0, ours })
    }
}

/// Waits for an answer, and reads it to its end.
async fn answered(
    response: ResponseFuture,
    wanted: &Wanted,
    attempt: &mut Attempt,
    deadline: Instant,
    exchange: &Exchange,
) -> Result<Ending, Failure> {
    let late = |_| Failure::told(FailureClass::Hung, "deadline");
    let response = timeout_at(deadline, response).await.map_err(late)?.map_err(|error| lost(&error, attempt))?;
    attempt.first_byte = Some(exchange.ledger.clock.now());
    let (head, mut body) = response.into_parts();
    while let Some(piece) = timeout_at(deadline, body.data()).await.map_err(late)? {
        let piece = piece.map_err(|error| lost(&error, attempt))?;
        attempt.bytes_received += piece.len() as u64;
        // It is ours to give back what was read.
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let value = |name: &Option<String>| head.headers.get(name.as_deref()?)?.to_str().ok();
    let id = attempt.id.to_string();
    let answer = Answer {
        status: Some(head.status.as_u16()),
        version: value(&wanted.version_header).and_then(|text| text.parse().ok()).map(Version),
        echoed: wanted.echo_header.is_none() || value(&wanted.echo_header) == Some(id.as_str()),
        close_announced: false,
        last: false,
    };
    match answer.fault() {
        None => Ok(Ending::Answered { status: answer.status, version: answer.version, close_announced: false }),
        Some((class, what)) => Err(Failure::told(class, what)),
    }
}

/// What became of a stream.
fn lost(error: &h2::Error, attempt: &Attempt) -> Failure {
    // The library gives the error of a GOAWAY to the streams above its last one only, and to those that were never sent.
    let unseen = error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
    let class = match attempt.first_byte {
        _ if unseen => FailureClass::StreamRefused,
        None => FailureClass::Dropped,
        Some(_) => FailureClass::Truncated,
    };
    Failure::told(class, error.to_string())
}

/// Passes bytes on, and looks for a GOAWAY among the heads of frames that are read (§4.1: nine bytes, then as many as they say).
struct Tap<T> {
    inner: T,
    head: Vec<u8>,
    skip: usize,
    goaway: Rc<Cell<bool>>,
}

impl<T> Tap<T> {
    fn new(inner: T, goaway: Rc<Cell<bool>>) -> Tap<T> {
        Tap { inner, head: Vec::with_capacity(9), skip: 0, goaway }
    }

    fn see(&mut self, mut bytes: &[u8]) {
        const GOAWAY: u8 = 0x7;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let (own, rest) = bytes.split_at(bytes.len().min(9 - self.head.len()));
            if self.skip > 0 {
                return;
            }
            self.head.extend_from_slice(own);
            bytes = rest;
            if let [a, b, c, kind, ..] = self.head[..]
                && self.head.len() == 9
            {
                self.goaway.set(self.goaway.get() || kind == GOAWAY);
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.head.clear();
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.see(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goaway_is_seen_among_other_frames_however_they_are_cut() {
        let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
        let goaway = [&[0, 0, 8, 7, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
        let data = [&[0, 0, 3, 0, 1, 0, 0, 0, 1][..], &[7; 3]].concat();
        for cut in 1..20 {
            let seen = |frames: &[&[u8]]| {
                let goaway = Rc::new(Cell::new(false));
                let mut tap = Tap::new((), Rc::clone(&goaway));
                frames.concat().chunks(cut).for_each(|piece| tap.see(piece));
                goaway.get()
            };
            assert!(!seen(&[&ping, &data, &ping]), "pieces of {cut}");
            assert!(seen(&[&data, &goaway, &ping]), "pieces of {cut}");
        }
    }
}
