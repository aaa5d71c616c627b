//! A datagram as it is sent to a server that echoes, and what its answer says: pure.
//!
//! A datagram is a line that names its request. A server gives it back (RFC 862), and may write its version behind it as a decimal
//! number; a server that was not made for this suite just gives it back.

use crate::id::Version;

/// What a datagram of ours begins with.
const MARK: &str = "unbroken ";

/// What is sent for the request with this id.
#[must_use]
pub fn question(id: u64) -> String {
    format!("{MARK}{id}\n")
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The request that it answers.
    pub id: u64,
    /// The version that gave it, where it tells.
    pub version: Option<Version>,
}

/// Reads an answer; `None` when it is none: other bytes than were sent, or something else behind them than a version.
#[must_use]
pub fn reply(datagram: &[u8]) -> Option<Reply> {
    let (id, version) = std::str::from_utf8(datagram).ok()?.strip_prefix(MARK)?.split_once('\n')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.to_owned());
    let version = match version {
        "" => None,
        digits => Some(Version(number(digits)?.parse().ok()?)),
    };
    Some(Reply { id: number(id)?.parse().ok()?, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_datagram_and_perhaps_a_version() {
        let said = |id, version: Option<u32>| Some(Reply { id, version: version.map(Version) });
        assert_eq!(reply(question(7).as_bytes()), said(7, None));
        assert_eq!(reply(b"unbroken 7\n12"), said(7, Some(12)));
        for other in [
            "",
            "unbroken 7",
            "unbroken x\n",
            "unbroken +7\n",
            "unbroken 7\nv2",
            "unbroken \n",
            "unbroken 7\n2\n",
            "else",
        ] {
            assert_eq!(reply(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(reply(&[0xff]), None);
    }
}
