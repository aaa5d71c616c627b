//! What both servers do alike: how a client is served, what is answered, and the pidfile.

use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::LazyLock;
use std::time::Duration;
use std::{fs, io, process};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::Notify;

/// How long an old process waits for its connections.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How long nobody is accepted after an accept that failed, so that a processor is left for those who are served.
pub const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What a slow answer takes.
const SLOW: Duration = Duration::from_millis(600);

/// 16 MiB, the same every 16 bytes.
static STREAM: LazyLock<Bytes> = LazyLock::new(|| "sixteen bytes..\n".repeat(1 << 20).into());

/// The version that was deployed when this process began: a number, or the process must not serve.
pub fn version() -> io::Result<u32> {
    fs::read_to_string("version")?.trim().parse().map_err(io::Error::other)
}

/// Serves a client for as long as it stays; after `ending`, to the end of the answer that is due.
pub async fn serve(client: TcpStream, version: u32, ending: impl Future<Output = ()>) {
    let asked = Notify::new();
    let service = service_fn(|request| {
        asked.notify_one();
        answer(version, request)
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(client), service));
    // hyper's shutdown closes a connection on which it has read nothing, also where a request lies unread: that of a client
    // who was accepted a moment before. So the first request is waited for.
    let ending = pin!(async {
        ending.await;
        asked.notified().await;
    });
    select! {
        // A request that has arrived is read before hyper is told.
        biased;
        // A client that goes away takes its request with it.
        _ = connection.as_mut() => return,
        () = ending => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(version: u32, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let id = request.headers().get("X-Request-Id").cloned();
    let body = match request.uri().path() {
        "/stream" => STREAM.clone(),
        "/slow" => {
            tokio::time::sleep(SLOW).await;
            "hello\n".into()
        }
        "/upload" => {
            // What it was is not asked.
            let _ = request.into_body().collect().await;
            "hello\n".into()
        }
        _ => "hello\n".into(),
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert("X-Version", version.into());
    if let Some(id) = id {
        response.headers_mut().insert("X-Request-Id", id);
    }
    Ok(response)
}

/// Writes this process's number, by rename.
pub fn write_pidfile(path: &Path) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, format!("{}\n", process::id()))?;
    fs::rename(new, path)
}
