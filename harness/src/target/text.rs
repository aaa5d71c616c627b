//! Parsing the single texts of a manifest: each function takes one text and gives its typed form or the problem.

use std::net::SocketAddr;

use super::{Signal, Template};
use crate::manifest::Problem;
use crate::manifest::did_you_mean;

/// Why a text cannot be what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextProblem {
    /// A name that is not lower-case words, digits and dashes between slashes.
    #[error("`{name}` cannot be a name")]
    Name {
        /// It.
        name: String,
    },
    /// Not "area/requirement".
    #[error("`{id}` cannot be the id of a check")]
    CheckId {
        /// It.
        id: String,
    },
    /// An empty text.
    #[error("the text is empty")]
    Empty,
    /// A NUL, which no path, argument or variable can hold.
    #[error("the text holds a NUL character")]
    Nul,
    /// A name in braces that is no placeholder.
    #[error("unknown placeholder `{{{name}}}`")]
    Placeholder {
        /// It.
        name: String,
    },
    /// A signal that Linux does not have.
    #[error("unknown signal `{name}`")]
    Signal {
        /// It.
        name: String,
    },
    /// Not an octal number, or too large.
    #[error("`{text}` is not an octal number up to {most:o}")]
    Octal {
        /// It.
        text: String,
        /// The largest allowed.
        most: u32,
    },
    /// A host name where an address belongs.
    #[error("`{host}` is a name, not an address")]
    Hostname {
        /// The name.
        host: String,
        /// The port as written.
        port: String,
    },
    /// Not address and port.
    #[error("`{text}` is not an address with a port")]
    Address {
        /// It.
        text: String,
    },
    /// An address outside of the loopback interface.
    #[error("{address} is not on the loopback interface, and a run has no other")]
    NotLoopback {
        /// It.
        address: SocketAddr,
    },
    /// Port 0.
    #[error("port 0 lets the system choose, and nobody would know the port")]
    NoPort,
    /// A path that depends on where the harness was started.
    #[error("the path `{path}` is relative")]
    RelativePath {
        /// It.
        path: String,
    },
    /// A file that would be written outside of the run's directory.
    #[error("the file `{path}` is outside of the run's directory")]
    Outside {
        /// It.
        path: String,
    },
    /// Not the path of a request.
    #[error("`{path}` is not the path of a request")]
    RequestPath {
        /// It.
        path: String,
    },
    /// Not the name of a header field (RFC 9110 §5.6.2).
    #[error("`{name}` is not the name of a header field")]
    Header {
        /// It.
        name: String,
    },
    /// Not the name of an environment variable.
    #[error("`{name}` is not the name of an environment variable")]
    Variable {
        /// It.
        name: String,
    },
    /// Not a setting of a network namespace.
    #[error("`{name}` is not a setting of a network namespace")]
    NetworkSetting {
        /// It.
        name: String,
    },
}

impl TextProblem {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            TextProblem::Name { .. } => "use lower-case letters, digits and dashes, such as \"mine/server\"".to_owned(),
            TextProblem::CheckId { .. } => "write area and requirement, such as \"handoff/no-refused\"".to_owned(),
            TextProblem::Empty => "write something here, or remove the key".to_owned(),
            TextProblem::Nul => "remove the \\u0000".to_owned(),
            TextProblem::Placeholder { name } => {
                let braced = Template::NAMES.map(|name| format!("{{{name}}}"));
                let hint = did_you_mean(&format!("{{{name}}}"), braced.iter().map(String::as_str));
                format!("{hint} (for the text itself write `{{{{{name}}}}}`)")
            }
            TextProblem::Signal { name } => {
                let hint = match did_you_mean(name.trim_start_matches("SIG"), Signal::names()) {
                    near if near.starts_with("did") => near,
                    _ => "use a name of signal(7), such as `HUP`, `USR2`, or `RTMIN+1`".to_owned(),
                };
                format!("{hint} (with or without the prefix `SIG`)")
            }
            TextProblem::Octal { most, .. } => {
                format!("write octal digits in quotes, such as {}", if *most > 0o777 { "\"0644\"" } else { "\"022\"" })
            }
            TextProblem::Hostname { port, .. } => format!("names are not looked up: write \"127.0.0.1:{port}\""),
            TextProblem::Address { .. } => {
                "write address and port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned()
            }
            TextProblem::NotLoopback { address } => match address {
                SocketAddr::V4(_) => format!("write \"127.0.0.1:{}\"", address.port()),
                SocketAddr::V6(_) => format!("write \"[::1]:{}\"", address.port()),
            },
            TextProblem::NoPort => "choose a port: in its own network namespace it collides with nothing".to_owned(),
            TextProblem::RelativePath { path } => format!("write `{{dir}}/{path}` or an absolute path"),
            TextProblem::Outside { .. } => "write a path below `{dir}`, without `..`".to_owned(),
            TextProblem::RequestPath { .. } => "begin it with a slash, without spaces: \"/\"".to_owned(),
            TextProblem::Header { .. } => "write a name such as \"X-Version\", without the colon".to_owned(),
            TextProblem::NetworkSetting { .. } => {
                "write a name of sysctl(8) that begins with `net.`, such as \"net.ipv4.tcp_migrate_req\"".to_owned()
            }
            TextProblem::Variable { .. } => {
                "write a name without `=`; its value goes behind the equals sign".to_owned()
            }
        }
    }
}

/// The problem with a text that must not be empty and holds placeholders, if there is one; the piece to point at.
pub(super) fn template(text: &str) -> Result<Template, (TextProblem, Option<String>)> {
    if text.contains('\0') {
        return Err((TextProblem::Nul, None));
    }
    match Template::unknown_name(text) {
        Some(name) => Err((TextProblem::Placeholder { name: name.to_owned() }, Some(format!("{{{name}}}")))),
        None => Ok(Template(text.to_owned())),
    }
}

/// The problem with a path that the run opens: it must not depend on where the harness was started.
pub(super) fn rooted(path: &str) -> Result<(), TextProblem> {
    let rooted = path.starts_with('/') || path == "{self}" || path == "{dir}" || path.starts_with("{dir}/");
    rooted.then_some(()).ok_or_else(|| TextProblem::RelativePath { path: path.to_owned() })
}

/// The problem with a path that the run writes: a typing error must not overwrite a file of the machine.
pub(super) fn below_dir(path: &str) -> Result<(), TextProblem> {
    let below = path.strip_prefix("{dir}/").is_some_and(|rest| !rest.is_empty() && rest.split('/').all(|p| p != ".."));
    below.then_some(()).ok_or_else(|| TextProblem::Outside { path: path.to_owned() })
}

/// A signal by its name.
pub(super) fn signal(name: &str) -> Result<Signal, TextProblem> {
    Signal::named(name).ok_or_else(|| TextProblem::Signal { name: name.to_owned() })
}

/// An octal number up to `most`.
pub(super) fn octal(text: &str, most: u32) -> Result<u32, TextProblem> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let number = u32::from_str_radix(text, 8).ok().filter(|number| digits && *number <= most);
    number.ok_or_else(|| TextProblem::Octal { text: text.to_owned(), most })
}

/// An address with a port on the loopback interface; the unspecified address is not one that a client connects to.
pub(super) fn address(text: &str) -> Result<SocketAddr, TextProblem> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(TextProblem::NoPort),
        Ok(address) if !address.ip().is_loopback() => Err(TextProblem::NotLoopback { address }),
        Ok(address) => Ok(address),
        Err(_) => match text.rsplit_once(':') {
            Some((host, port))
                if port.parse::<u16>().is_ok()
                    && host.contains(|c: char| c.is_ascii_alphabetic())
                    && !host.contains(':') =>
            {
                Err(TextProblem::Hostname { host: host.to_owned(), port: port.to_owned() })
            }
            _ => Err(TextProblem::Address { text: text.to_owned() }),
        },
    }
}

/// The path of a request: goes into the request line as it is.
pub(super) fn request_path(path: &str) -> Result<String, TextProblem> {
    let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| path.to_owned()).ok_or_else(|| TextProblem::RequestPath { path: path.to_owned() })
}

/// The name of a header field: a token (RFC 9110 §5.6.2).
pub(super) fn header(name: &str) -> Result<String, TextProblem> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let plain = !name.is_empty() && name.bytes().all(token);
    plain.then(|| name.to_owned()).ok_or_else(|| TextProblem::Header { name: name.to_owned() })
}

/// The name of an environment variable.
pub(super) fn variable(name: &str) -> Result<(), TextProblem> {
    let plain = !name.is_empty() && !name.contains(['=', '\0']);
    plain.then_some(()).ok_or_else(|| TextProblem::Variable { name: name.to_owned() })
}

/// The name of a setting below `/proc/sys/net`, with dots for slashes.
pub(super) fn network_setting(name: &str) -> Result<(), TextProblem> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let plain = name.strip_prefix("net.").is_some_and(|rest| rest.split('.').all(word));
    plain.then_some(()).ok_or_else(|| TextProblem::NetworkSetting { name: name.to_owned() })
}

/// A name of a target or scenario: it becomes part of a path of the run's directory.
pub(crate) fn name(name: &str) -> Result<(), Problem> {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let plain = name.split('/').all(word);
    plain.then_some(()).ok_or_else(|| TextProblem::Name { name: name.to_owned() }.into())
}

/// The id of a check: area and requirement.
pub(crate) fn check_id(id: &str) -> Result<(), Problem> {
    let plain = name(id).is_ok() && id.split('/').count() == 2;
    plain.then_some(()).ok_or_else(|| TextProblem::CheckId { id: id.to_owned() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_octal_text_is_digits_below_its_bound() {
        assert_eq!(octal("022", 0o777), Ok(0o022));
        for bad in ["", "8", "+7", "1000", "0x1"] {
            assert!(octal(bad, 0o777).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_a_number_on_the_loopback_interface() {
        assert!(address("127.0.0.1:80").is_ok() && address("[::1]:80").is_ok() && address("127.1.2.3:1").is_ok());
        assert!(matches!(address("localhost:80"), Err(TextProblem::Hostname { .. })));
        assert!(matches!(address("0.0.0.0:80"), Err(TextProblem::NotLoopback { .. })));
        assert!(matches!(address("127.0.0.1:0"), Err(TextProblem::NoPort)));
        for bad in ["127.0.0.1", "127.0.0.1:99999", "::1:80", ""] {
            assert!(matches!(address(bad), Err(TextProblem::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn a_written_file_stays_in_the_runs_directory() {
        assert!(below_dir("{dir}/a/b").is_ok());
        for bad in ["{dir}", "{dir}/", "{dir}/../x", "/etc/passwd", "x"] {
            assert!(below_dir(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_check_ids_are_plain_words() {
        assert!(name("nginx/usr2").is_ok() && check_id("handoff/no-refused").is_ok());
        for bad in ["", "a//b", "../x", "A", "a b"] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(check_id("handoff").is_err() && check_id("a/b/c").is_err());
    }
}
