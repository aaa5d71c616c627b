//! Just enough HTTP/1.1 (RFC 9112) to read a request head that arrives in pieces.

/// Longest head accepted; what real servers allow by default (nginx: 8 KiB, four times).
pub const HEAD_MAX: usize = 32 * 1024;

/// The parts of a request head that the service looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Method token, case-sensitive.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// What follows `?`, or empty.
    pub query: String,
    /// The client closes after this exchange (`Connection: close`, or HTTP/1.0 without keep-alive; RFC 9112 §9.3).
    pub closes: bool,
    /// `X-Request-Id`, to be echoed.
    pub request_id: Option<String>,
    /// `Content-Length`, 0 if absent.
    pub body_length: u64,
    /// `Expect: 100-continue` (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// `Upgrade: websocket` (RFC 6455 §4.2.1).
    pub wants_websocket: bool,
    /// `Sec-WebSocket-Key`.
    pub websocket_key: Option<String>,
}

impl Head {
    /// A number from the query, or `None` if the key is missing or its value is no number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(name, _)| *name == key)?.1.parse().ok()
    }
}

/// A request that cannot be understood; the connection cannot be used further, for nobody knows where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest(
    /// What is wrong, for the answer's body.
    pub &'static str,
);

/// Reads a head from the beginning of the buffer: the head and its length in bytes, or `None` if it is not complete yet.
///
/// # Errors
/// [`BadRequest`] as soon as no continuation can make it a request.
pub fn parse(buffer: &[u8]) -> Result<Option<(Head, usize)>, BadRequest> {
    // RFC 9112 §2.2: ignore empty lines before a request.
    let skipped = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let rest = &buffer[skipped..];
    let Some(length) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if buffer.len() > HEAD_MAX { Err(BadRequest("head too long")) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&rest[..length]).map_err(|_| BadRequest("head is not text"))?;
    let mut lines = text.split("\r\n");
    let mut head = request_line(lines.next().unwrap_or_default())?;
    for line in lines {
        header(&mut head, line)?;
    }
    Ok(Some((head, skipped + length + 4)))
}

/// RFC 9112 §3.
fn request_line(line: &str) -> Result<Head, BadRequest> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BadRequest("request line"));
    };
    let closes = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(BadRequest("protocol version")),
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) || !target.starts_with('/') {
        return Err(BadRequest("request line"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Head { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), closes, ..Head::default() })
}

/// RFC 9112 §5; names are case-insensitive (RFC 9110 §5.1).
fn header(head: &mut Head, line: &str) -> Result<(), BadRequest> {
    let (name, value) = line.split_once(':').ok_or(BadRequest("header line"))?;
    if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return Err(BadRequest("header name"));
    }
    let value = value.trim_matches([' ', '\t']);
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(BadRequest("header value"));
    }
    match name.to_ascii_lowercase().as_str() {
        "connection" => connection(head, value),
        "content-length" => head.body_length = length(head, value)?,
        // Without chunked decoding the end of the body would be a guess (RFC 9112 §6.1).
        "transfer-encoding" => {
            return Err(BadRequest("transfer coding not supported, send Content-Length"));
        }
        "expect" => head.expects_continue = value.eq_ignore_ascii_case("100-continue"),
        "upgrade" => head.wants_websocket = value.eq_ignore_ascii_case("websocket"),
        "sec-websocket-key" => head.websocket_key = Some(value.to_owned()),
        "x-request-id" => head.request_id = Some(value.to_owned()),
        _ => {}
    }
    Ok(())
}

/// RFC 9110 §7.6.1: a list of tokens.
fn connection(head: &mut Head, value: &str) {
    for token in value.split(',').map(str::trim) {
        if token.eq_ignore_ascii_case("close") {
            head.closes = true;
        } else if token.eq_ignore_ascii_case("keep-alive") {
            head.closes = false;
        }
    }
}

/// RFC 9110 §8.6: digits only; a second, different length is an attack (RFC 9112 §6.3).
fn length(head: &Head, value: &str) -> Result<u64, BadRequest> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let length = value.parse().ok().filter(|_| digits).ok_or(BadRequest("Content-Length"))?;
    if head.body_length != 0 && head.body_length != length { Err(BadRequest("Content-Length")) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, want: Result<Option<(Head, usize)>, BadRequest>) {
        assert_eq!(parse(input.as_bytes()), want, "{input:?}");
    }

    #[test]
    fn a_head_in_pieces_is_complete_only_with_its_last_byte() {
        let text = "\r\nPOST /upload?a=1&ms=20 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nx-request-id:  r 7 \r\n\r\n";
        for end in 0..text.len() {
            check(&text[..end], Ok(None));
        }
        let head = Head {
            method: "POST".to_owned(),
            path: "/upload".to_owned(),
            query: "a=1&ms=20".to_owned(),
            request_id: Some("r 7".to_owned()),
            body_length: 5,
            ..Head::default()
        };
        assert_eq!((head.number("ms"), head.number("m")), (Some(20), None));
        check(text, Ok(Some((head.clone(), text.len()))));
        check(&format!("{text}hello GET"), Ok(Some((head, text.len()))));
    }

    #[test]
    fn closing_is_the_clients_choice_or_the_old_protocol() {
        for (lines, want) in [
            ("HTTP/1.1\r\n", false),
            ("HTTP/1.1\r\nConnection: Close\r\n", true),
            ("HTTP/1.0\r\n", true),
            ("HTTP/1.0\r\nconnection: foo, keep-alive\r\n", false),
        ] {
            let parsed = parse(format!("GET / {lines}\r\n").as_bytes()).expect("good").expect("complete");
            assert_eq!(parsed.0.closes, want, "{lines:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let head = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
        check("GET /\r\n\r\n", Err(BadRequest("request line")));
        check("GET / HTTP/2\r\n\r\n", Err(BadRequest("protocol version")));
        check(&head("Host"), Err(BadRequest("header line")));
        check(&head("Host : x"), Err(BadRequest("header name")));
        check(&head("Content-Length: +5"), Err(BadRequest("Content-Length")));
        check(&head("Content-Length: 5\r\nContent-Length: 6"), Err(BadRequest("Content-Length")));
        check(&"x".repeat(HEAD_MAX + 1), Err(BadRequest("head too long")));
    }
}
