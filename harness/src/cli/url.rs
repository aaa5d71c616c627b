//! The address of a load: `http://127.0.0.1:8080/path`, `echo://…`, and `unix:PATH:/path` in the place of an address, as nginx writes it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::drive::{Peer, UnixName};
use crate::manifest::Protocol;

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// The address to connect to.
    pub(super) to: Peer,
    /// What is spoken there.
    pub(super) protocol: Protocol,
    /// As it stands in `Host`.
    pub(super) host: String,
    /// Path and query.
    pub(super) path: String,
}

impl Url {
    /// Reads one. Names are not looked up, `localhost` apart: which of its addresses is loaded would be chance.
    pub(super) fn parse(text: &str) -> Result<Url, String> {
        let (protocol, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Protocol::Http1, rest),
            Some(("echo", rest)) => (Protocol::Echo, rest),
            Some((scheme, _)) => return Err(format!("`{scheme}` is not spoken: write http:// or echo://")),
            None => (Protocol::Http1, text),
        };
        let (to, host, path) = if let Some(rest) = rest.strip_prefix("unix:") {
            let (name, path) = rest.split_once(':').unwrap_or((rest, "/"));
            (unix(name)?, "localhost", path)
        } else {
            let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
            (address(host)?.into(), host, path)
        };
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "a path begins with / and goes into the request as it is: write other characters as %XX".to_owned()
            );
        }
        Ok(Url { to, protocol, host: host.to_owned(), path: path.to_owned() })
    }
}

/// `/run/server.sock`, or `@name` for an abstract one.
fn unix(name: &str) -> Result<Peer, String> {
    match name.strip_prefix('@') {
        None if name.is_empty() => {
            Err("`unix:` names no socket: write unix:/run/server.sock, or unix:@name".to_owned())
        }
        None => Ok(UnixName::Path(name.into()).into()),
        Some(name) => Ok(UnixName::Abstract(name.to_owned()).into()),
    }
}

fn address(host: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return Ok(address);
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port),
        _ => (host, "80"),
    };
    let port: u16 = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    let ip = name.trim_start_matches('[').trim_end_matches(']');
    match ip.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, port)),
        Err(_) if name == "localhost" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => Err(format!("`{name}` is no address, and names are not looked up: write http://127.0.0.1:{port}/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, to: &str, host: &str, path: &str) {
        let url = Url::parse(text).expect(text);
        assert_eq!(url.protocol, if text.starts_with("echo") { Protocol::Echo } else { Protocol::Http1 });
        assert_eq!((url.to.to_string().as_str(), url.host.as_str(), url.path.as_str()), (to, host, path), "{text}");
    }

    #[test]
    fn what_may_be_left_out_has_the_usual_meaning() {
        check("http://127.0.0.1:8080/a?b=c", "127.0.0.1:8080", "127.0.0.1:8080", "/a?b=c");
        check("127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:8080", "/");
        check("http://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "/");
        check("http://localhost:81/", "127.0.0.1:81", "localhost:81", "/");
        check("http://[::1]:82/x", "[::1]:82", "[::1]:82", "/x");
        check("http://[::1]/", "[::1]:80", "[::1]", "/");
        check("echo://127.0.0.1:7", "127.0.0.1:7", "127.0.0.1:7", "/");
        check("http://unix:/run/a.sock:/x?y", "unix:/run/a.sock", "localhost", "/x?y");
        check("unix:@name", "unix:@name", "localhost", "/");
        check("echo://unix:a.sock", "unix:a.sock", "localhost", "/");
    }

    #[test]
    fn what_cannot_be_loaded_is_named() {
        let wrong = |text: &str| Url::parse(text).expect_err(text);
        assert!(wrong("https://127.0.0.1/").contains("`https` is not spoken"));
        assert!(wrong("http://example.org:8080/").contains("names are not looked up: write http://127.0.0.1:8080/"));
        assert!(wrong("http://127.0.0.1:x/").contains("`x` is no port"));
        assert!(wrong("http://127.0.0.1/a b").contains("%XX"));
        assert!(wrong("http://unix:").contains("names no socket"));
        assert!(wrong("http://unix:/run/a.sock:x").contains("begins with /"));
    }
}
