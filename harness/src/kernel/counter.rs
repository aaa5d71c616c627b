//! TCP counters of a network namespace: `/proc/thread-self/net/{snmp,netstat}` (proc(5), RFC 4022, linux/snmp.h).
//!
//! `thread-self` because `/proc/net` is the thread-group leader's namespace, not the reading thread's.

use std::collections::BTreeMap;
use std::{fs, io};

/// The files of the two groups, of which `snmp` holds `Tcp` and `netstat` holds `TcpExt`.
const FILES: [&str; 2] = ["/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"];

/// The counters that tell something about connections lost or refused.
pub const NAMES: [&str; 16] = [
    "Tcp.ActiveOpens",
    "Tcp.PassiveOpens",
    "Tcp.AttemptFails",
    "Tcp.EstabResets",
    "Tcp.RetransSegs",
    "Tcp.OutRsts",
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.TCPAbortOnClose",
    "TcpExt.TCPAbortOnData",
    "TcpExt.TCPDeferAcceptDrop",
    "TcpExt.TCPMigrateReqSuccess",
    "TcpExt.TCPMigrateReqFailure",
    "TcpExt.TCPTimeouts",
    "TcpExt.TCPAbortFailed",
    "TcpExt.TCPReqQFullDrop",
];

/// Reads [`NAMES`] in the calling thread's network namespace; a name that this kernel does not have is left out.
///
/// # Errors
/// When a file cannot be read or does not have the form of proc(5).
pub fn read() -> io::Result<BTreeMap<String, u64>> {
    let mut values = BTreeMap::new();
    for file in FILES {
        let text = fs::read_to_string(file)?;
        if !parse(&text, &mut values) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{file} is not made of pairs of lines")));
        }
    }
    Ok(values)
}

/// Pairs of lines: `Tcp: Name Name …` and `Tcp: 1 2 …`. False when a line has no partner or another length.
fn parse(text: &str, values: &mut BTreeMap<String, u64>) -> bool {
    let mut lines = text.lines();
    while let Some(names) = lines.next() {
        let mut names = names.split_ascii_whitespace();
        let Some(numbers) = lines.next() else { return false };
        let mut numbers = numbers.split_ascii_whitespace();
        let (Some(group), Some(again)) = (names.next(), numbers.next()) else { return false };
        if group != again {
            return false;
        }
        let group = group.trim_end_matches(':');
        loop {
            match (names.next(), numbers.next()) {
                (None, None) => break,
                (Some(name), Some(number)) => {
                    let name = format!("{group}.{name}");
                    // Tcp.MaxConn is -1; none of ours is signed.
                    if let (true, Ok(number)) = (NAMES.contains(&name.as_str()), number.parse()) {
                        values.insert(name, number);
                    }
                }
                _ => return false,
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::kernel::inet_diag::fresh_netns::in_fresh_netns;

    #[test]
    fn pairs_of_lines_give_the_named_counters() {
        let mut values = BTreeMap::new();
        assert!(parse("Ip: A B\nIp: 1 2\nTcp: MaxConn OutRsts\nTcp: -1 7\n", &mut values));
        assert_eq!(values, BTreeMap::from([("Tcp.OutRsts".to_owned(), 7)]));
    }

    #[test]
    fn lines_without_partners_are_refused() {
        for text in ["Tcp: A\n", "Tcp: A\nUdp: 1\n", "Tcp: A B\nTcp: 1\n", "\n\n"] {
            assert!(!parse(text, &mut BTreeMap::new()), "{text:?}");
        }
    }

    #[test]
    fn a_refused_connect_is_an_attempt_that_failed() {
        in_fresh_netns(|_| {
            let before = read().expect("read");
            assert_eq!(before.len(), NAMES.len(), "{before:?}");
            assert!(TcpStream::connect("127.0.0.1:1").is_err());
            let after = read().expect("read");
            assert_eq!(after["Tcp.AttemptFails"], before["Tcp.AttemptFails"] + 1);
            assert_eq!(after["Tcp.OutRsts"], before["Tcp.OutRsts"] + 1);
        });
    }

    #[test]
    fn closing_with_unread_data_is_an_abort() {
        use std::io::Write;
        in_fresh_netns(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
            let server = listener.accept().expect("accept").0;
            client.write_all(b"unread").expect("write");
            let before = read().expect("read");
            drop(server);
            assert_eq!(read().expect("read")["TcpExt.TCPAbortOnClose"], before["TcpExt.TCPAbortOnClose"] + 1);
        });
    }
}
