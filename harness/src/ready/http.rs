//! HTTP/1.1 as a probe speaks it: a GET that ends its connection (RFC 9112).

use crate::id::Version;
use crate::ready::Probe;
use crate::target::TargetEndpoint;

/// Header lines of one head; nginx and haproxy stop at about 100.
const HEADERS_MAX: usize = 128;

/// What follows on [`half`] of a request.
pub(super) const REST: &str = "Connection: close\r\n\r\n";

/// A request without the end of its head.
pub(super) fn half(endpoint: &TargetEndpoint) -> String {
    format!("GET {} HTTP/1.1\r\nHost: {}\r\n", endpoint.path, endpoint.address)
}

/// A whole request.
pub(super) fn request(endpoint: &TargetEndpoint) -> String {
    half(endpoint) + REST
}

/// It has all of its Content-Length: a server that ignores `Connection: close` must not cost the whole limit.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else { return false };
    let length = header(&response, "content-length").and_then(|text| text.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() - head >= length)
}

/// `None` when there is no whole head.
pub(super) fn understand(bytes: &[u8], endpoint: &TargetEndpoint) -> Option<Probe> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(Probe::Wrong { what: "not HTTP".to_owned() }),
    }
    let status = response.code?;
    if !(200..300).contains(&status) {
        return Some(Probe::Wrong { what: format!("status {status}") });
    }
    let version = endpoint.version_header.as_deref().and_then(|name| header(&response, name));
    Some(Probe::Answered { version: version.and_then(|text| text.parse().ok()).map(Version) })
}

fn header<'a>(response: &httparse::Response<'_, 'a>, name: &str) -> Option<&'a str> {
    let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(found.value).ok().map(str::trim)
}
