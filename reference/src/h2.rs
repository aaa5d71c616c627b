//! HTTP/2 with prior knowledge (RFC 9113 §3.3): streams side by side on one connection, and an end that tells which of them count.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /` | `hello world` |
//! | `GET /slow?ms=N` | the same, N milliseconds later |
//!
//! A server that closes a connection says GOAWAY, with the number of the last stream that it takes (§6.8): those up to it are answered,
//! those above it were never looked at, and their client sends them again elsewhere without a doubt. Since a client's streams may be on
//! their way, a draining server says it twice: first with the highest number there is, and a round trip later with the one that counts.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response, StatusCode};
use tokio::io::unix::AsyncFd;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};

use crate::defect::Defect;
use crate::service::{DELAY_MS_MAX, Service};

/// How a draining generation ends a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastStream {
    /// GOAWAY, and what has been taken is answered: correct.
    #[default]
    Announced,
    /// GOAWAY, and what has been taken is dropped: the mistake of [`Defect::H2Streams`].
    Dropped,
    /// What had been taken before is answered, and then the connection ends: the mistake of [`Defect::Goaway`].
    Unsaid,
}

impl LastStream {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::H2Streams) => Self::Dropped,
            Some(Defect::Goaway) => Self::Unsaid,
            _ => Self::Announced,
        }
    }
}

/// Serves one connection until its end.
///
/// # Errors
/// What the connection reports; a client that goes away is told as one.
pub(crate) fn serve(stream: TcpStream, service: &Service) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    LocalSet::new().block_on(&runtime, converse(stream, service))
}

async fn converse(stream: TcpStream, service: &Service) -> io::Result<()> {
    let signal: OwnedFd = service.drain.signal().try_clone_to_owned()?;
    // SAFETY: an owned descriptor, which stays open and the same until it is dropped.
    let signal = unsafe { AsyncFd::register(signal) }.map_err(io::Error::from)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
    let (mut answers, mut owed, mut draining) = (JoinSet::new(), JoinSet::new(), false);
    loop {
        tokio::select! {
            biased;
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => drop(answers.spawn_local(answer(request, respond, service.version))),
                Some(Err(error)) => return Err(io::Error::other(error)),
                // The last stream has ended, or the client has.
                None => return Ok(()),
            },
            // Once only: it stays readable.
            _begun = signal.readable(), if !draining => {
                draining = true;
                owed = std::mem::take(&mut answers);
                match service.last_stream {
                    LastStream::Announced => connection.graceful_shutdown(),
                    LastStream::Dropped => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
                    LastStream::Unsaid => {}
                }
            },
            Some(_answered) = answers.join_next() => {}
            Some(_answered) = owed.join_next() => {}
            // A client that is told nothing never stops to ask.
            () = std::future::ready(()), if draining && service.last_stream == LastStream::Unsaid && owed.is_empty() => {
                return Ok(());
            }
        }
    }
}

/// One stream. A client that has given it up is no error of the server.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, version: u64) {
    let delay = request.uri().query().and_then(|query| query.strip_prefix("ms=")).and_then(|ms| ms.parse().ok());
    let (status, body) = match (request.uri().path(), delay) {
        ("/", _) => (StatusCode::OK, "hello world\n"),
        ("/slow", Some(ms)) if ms <= DELAY_MS_MAX => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            (StatusCode::OK, "hello world\n")
        }
        ("/slow", _) => (StatusCode::BAD_REQUEST, "ms=N is missing or too large\n"),
        _ => (StatusCode::NOT_FOUND, "not found\n"),
    };
    let mut response = Response::builder().status(status).header("x-version", version);
    if let Some(id) = request.headers().get("x-request-id") {
        response = response.header("x-request-id", id);
    }
    let Ok(response) = response.body(()) else { return };
    if let Ok(mut stream) = respond.send_response(response, false) {
        let _ = stream.send_data(Bytes::from_static(body.as_bytes()), true);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::*;
    use crate::drain::{Drain, Patience};

    type Requests = h2::client::SendRequest<Bytes>;

    /// Speaks to a service that ends so, and may begin its drain.
    fn speak<F: Future<Output = ()>>(last_stream: LastStream, client: impl FnOnce(Requests, Arc<Drain>) -> F) {
        let patience = Patience { idle_grace: Duration::from_millis(200), timeout: Duration::from_secs(60) };
        let drain = Drain::new(patience).expect("drain");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("name");
        let service = Service { last_stream, ..Service::new(3, Arc::clone(&drain)) };
        let server = std::thread::spawn(move || serve(listener.accept().expect("accept").0, &service));
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().expect("runtime");
        LocalSet::new().block_on(&runtime, async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("connect");
            let (requests, connection) = h2::client::handshake(stream).await.expect("handshake");
            let ended = tokio::task::spawn_local(connection);
            client(requests, drain).await;
            let _ended = ended.await;
        });
        let _ended = server.join().expect("no panic");
    }

    fn ask(requests: &mut Requests, path: &str) -> h2::client::ResponseFuture {
        let request = Request::builder().uri(format!("http://localhost{path}")).header("x-request-id", "7");
        requests.send_request(request.body(()).expect("a request"), true).expect("sent").0
    }

    #[test]
    fn streams_are_answered_side_by_side_with_version_and_id() {
        speak(LastStream::Announced, |requests, _drain| async move {
            let mut requests = requests.ready().await.expect("ready");
            let slow = ask(&mut requests, "/slow?ms=50");
            let fast = ask(&mut requests, "/").await.expect("answered");
            assert_eq!((fast.status(), &fast.headers()["x-version"]), (StatusCode::OK, &"3".parse().expect("text")));
            assert_eq!(fast.headers()["x-request-id"], "7");
            assert_eq!(slow.await.expect("answered").status(), StatusCode::OK);
            assert_eq!(ask(&mut requests, "/none").await.expect("answered").status(), StatusCode::NOT_FOUND);
        });
    }

    #[test]
    fn a_drain_answers_what_was_taken_and_takes_no_more() {
        speak(LastStream::Announced, |requests, drain| async move {
            let mut requests = requests.ready().await.expect("ready");
            let slow = ask(&mut requests, "/slow?ms=100");
            // Once the other is answered the slow one has been taken.
            ask(&mut requests, "/").await.expect("answered");
            drain.begin();
            assert_eq!(slow.await.expect("answered").status(), StatusCode::OK);
            let error = requests.ready().await.map(|_| ()).expect_err("gone");
            assert!(error.is_go_away() || error.is_io(), "{error:?}");
        });
    }

    #[test]
    fn the_other_defect_answers_what_it_owes_and_ends_without_a_word() {
        speak(LastStream::Unsaid, |requests, drain| async move {
            let mut requests = requests.ready().await.expect("ready");
            let slow = ask(&mut requests, "/slow?ms=50");
            ask(&mut requests, "/").await.expect("answered");
            drain.begin();
            assert_eq!(slow.await.expect("answered").status(), StatusCode::OK);
            let error = loop {
                requests = match requests.ready().await {
                    Ok(requests) => requests,
                    Err(error) => break error,
                };
                if let Err(error) = ask(&mut requests, "/").await {
                    break error;
                }
            };
            assert!(!error.is_go_away(), "{error:?}");
        });
    }

    #[test]
    fn the_defect_drops_what_was_taken() {
        speak(LastStream::Dropped, |requests, drain| async move {
            let mut requests = requests.ready().await.expect("ready");
            let slow = ask(&mut requests, "/slow?ms=1000");
            ask(&mut requests, "/").await.expect("answered");
            drain.begin();
            slow.await.expect_err("dropped");
        });
    }
}
