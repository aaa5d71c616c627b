//! HTTP/2 as a probe speaks it: one stream on a connection of its own.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout_at;

use crate::id::Version;
use crate::ready::Probe;
use crate::ready::probe::{NO_ANSWER, ProbeError};
use crate::target::TargetEndpoint;

/// One request of the endpoint's path.
///
/// # Errors
/// When the harness itself could not ask.
pub(super) fn ask(to: SocketAddr, endpoint: &TargetEndpoint, end: Instant) -> Result<Probe, ProbeError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(ProbeError::Socket)?;
    let silent = |reason: String| Ok(Probe::Silent { reason });
    runtime.block_on(async {
        let asked = timeout_at(end.into(), exchange(to, endpoint)).await;
        match asked {
            Err(_late) => silent(NO_ANSWER.to_owned()),
            Ok(Ok(probe)) => Ok(probe),
            Ok(Err(Lost::Connect(error))) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Ok(Probe::Refused)
            }
            Ok(Err(Lost::Connect(error))) => silent(format!("connect: {error}")),
            Ok(Err(Lost::Stream(error))) => silent(error.to_string()),
        }
    })
}

enum Lost {
    Connect(std::io::Error),
    Stream(h2::Error),
}

async fn exchange(to: SocketAddr, endpoint: &TargetEndpoint) -> Result<Probe, Lost> {
    let stream = TcpStream::connect(to).await.map_err(Lost::Connect)?;
    let (requests, connection) = h2::client::handshake(stream).await.map_err(Lost::Stream)?;
    let answered = async {
        let mut requests: h2::client::SendRequest<Bytes> = requests.ready().await?;
        let request = Request::builder().uri(format!("http://{to}{}", endpoint.path)).body(());
        let request = request.expect("a path that was checked, and an address");
        let (response, _body) = requests.send_request(request, true)?;
        response.await
    };
    let mut connection = std::pin::pin!(connection);
    let mut answered = std::pin::pin!(answered);
    let mut ended = false;
    let response = loop {
        tokio::select! {
            response = &mut answered => break response.map_err(Lost::Stream)?,
            // What that means for the stream is told there.
            _ended = &mut connection, if !ended => ended = true,
        }
    };
    let status = response.status();
    if !status.is_success() {
        return Ok(Probe::Wrong { what: format!("status {}", status.as_u16()) });
    }
    let header = endpoint.version_header.as_deref().and_then(|name| response.headers().get(name));
    let version = header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok()).map(Version);
    Ok(Probe::Answered { version })
}
