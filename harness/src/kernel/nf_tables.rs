//! nf_tables (nft(8)) by netlink: one rule that keeps handshakes from ending; and, in [`path`], one that meets all that comes in by an
//! interface.
//!
//! A client whose last ACK is dropped believes to be connected, and the server keeps the handshake in SYN_RECV. What decides is
//! that such a client never sends its SYN again: if the listener goes, the handshake is lost. (A filter on the client's socket,
//! which would drop the SYN-ACK instead, proves nothing: that client sends its SYN again, and any listener answers.) The first
//! bytes of a request carry an ACK too, and PSH: they pass, and end the handshake.

pub mod path;

use std::io;

use rustix::net::netlink::NETFILTER;

use super::netlink::{self, NESTED, Netlink, attribute};

/// The table is ours alone: the network namespace is.
const TABLE: &[u8] = b"unbroken\0";
const CHAIN: &[u8] = b"acks\0";

/// NFNL_SUBSYS_NFTABLES (linux/netfilter/nfnetlink.h): the high byte of a message's type.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// NFT_MSG_* (linux/netfilter/nf_tables.h).
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const DELETE_RULE: u16 = SUBSYSTEM << 8 | 8;
/// NFPROTO_INET: IPv4 and IPv6.
const INET: u8 = 1;
/// NFT_REG_1.
const REGISTER: u32 = 1;
/// NFT_META_L4PROTO, and what it is for TCP.
const L4PROTO: u32 = 16;
const TCP: u8 = 6;
/// Where the port and the flags stand in a TCP header (RFC 9293 §3.1).
const DESTINATION_AT: u32 = 2;
const FLAGS_AT: u32 = 13;
/// ACK and nothing else: no SYN, no FIN, no RST, and no PSH, with which the last bytes of a write are sent.
const BARE_ACK: u8 = 1 << 4;

/// Drops every bare ACK that comes in for a port, in the network namespace of the thread that raised it.
#[derive(Debug)]
pub struct AckFilter {
    netlink: Netlink,
}

impl AckFilter {
    /// From now on no handshake with this port ends by its ACK alone.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or the thread no CAP_NET_ADMIN over its network namespace.
    pub fn raise(port: u16) -> io::Result<AckFilter> {
        let mut netlink = Netlink::open(Some(NETFILTER))?;
        let expressions = [
            loaded_meta(L4PROTO),
            equals(&[TCP]),
            loaded(DESTINATION_AT, 2),
            equals(&port.to_be_bytes()),
            loaded(FLAGS_AT, 1),
            equals(&[BARE_ACK]),
            dropped(),
        ];
        let rule = (NEW_RULE, rule(TABLE, CHAIN, &expressions));
        commit(&mut netlink, &[(NEW_TABLE, attribute(1, TABLE)), (NEW_CHAIN, input_chain(TABLE, CHAIN)), rule])?;
        Ok(AckFilter { netlink })
    }

    /// Lets them through again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lift(mut self) -> io::Result<()> {
        commit(&mut self.netlink, &[(DELETE_TABLE, attribute(1, TABLE))])
    }
}

/// Sends messages as one transaction (all or nothing), and waits for the kernel's word on the last one, or on the first that it
/// refuses.
fn commit(netlink: &mut Netlink, messages: &[(u16, Vec<u8>)]) -> io::Result<()> {
    // The batch is for the subsystem as a whole.
    let mark = |kind| message((kind, 0), (0, SUBSYSTEM), &[]);
    let mut batch = mark(BATCH_BEGIN);
    for (n, (kind, body)) in messages.iter().enumerate() {
        let create = if matches!(*kind, DELETE_TABLE | DELETE_RULE) { 0 } else { libc::NLM_F_CREATE };
        let acknowledged = if n + 1 == messages.len() { libc::NLM_F_ACK } else { 0 };
        batch.extend(message((*kind, create | acknowledged), (INET, 0), body));
    }
    batch.extend(mark(BATCH_END));
    netlink.send(&batch)?;
    netlink.acknowledged()
}

/// A chain that meets what comes in for this host: NFTA_CHAIN_TABLE, _NAME, _HOOK, _TYPE.
fn input_chain(table: &[u8], name: &[u8]) -> Vec<u8> {
    // NFTA_HOOK_HOOKNUM: NF_INET_LOCAL_IN; NFTA_HOOK_PRIORITY: 0.
    let hook = [attribute(1, &1_u32.to_be_bytes()), attribute(2, &0_u32.to_be_bytes())].concat();
    [attribute(1, table), attribute(3, name), attribute(4 | NESTED, &hook), attribute(7, b"filter\0")].concat()
}

/// A rule: NFTA_RULE_TABLE, _CHAIN, _EXPRESSIONS.
fn rule(table: &[u8], chain: &[u8], expressions: &[Vec<u8>]) -> Vec<u8> {
    [attribute(1, table), attribute(2, chain), attribute(4 | NESTED, &expressions.concat())].concat()
}

/// A message with `nfgenmsg` (version 0) before its body.
fn message((kind, flags): (u16, i32), (family, resource): (u8, u16), body: &[u8]) -> Vec<u8> {
    netlink::message(kind, flags, &[&[family, 0][..], &resource.to_be_bytes(), body].concat())
}

/// NFTA_LIST_ELEM of NFTA_EXPR_NAME and NFTA_EXPR_DATA.
fn expression(name: &[u8], data: &[Vec<u8>]) -> Vec<u8> {
    attribute(1 | NESTED, &[attribute(1, name), attribute(2 | NESTED, &data.concat())].concat())
}

/// What the kernel knows of a packet, into the register: NFTA_META_DREG, _KEY.
fn loaded_meta(key: u32) -> Vec<u8> {
    expression(b"meta\0", &[attribute(1, &REGISTER.to_be_bytes()), attribute(2, &key.to_be_bytes())])
}

/// Bytes of the TCP header, into the register: NFTA_PAYLOAD_DREG, _BASE (the transport header), _OFFSET, _LEN.
fn loaded(offset: u32, length: u32) -> Vec<u8> {
    let number = |kind: u16, value: u32| attribute(kind, &value.to_be_bytes());
    expression(b"payload\0", &[number(1, REGISTER), number(2, 2), number(3, offset), number(4, length)])
}

/// The rule goes on if the register holds this: NFTA_CMP_SREG, _OP (equal), _DATA.
fn equals(value: &[u8]) -> Vec<u8> {
    let value = attribute(3 | NESTED, &attribute(1, value));
    expression(b"cmp\0", &[attribute(1, &REGISTER.to_be_bytes()), attribute(2, &0_u32.to_be_bytes()), value])
}

/// NF_DROP, into the register of verdicts: NFTA_IMMEDIATE_DREG, _DATA (NFTA_DATA_VERDICT, NFTA_VERDICT_CODE).
fn dropped() -> Vec<u8> {
    let code = attribute(2 | NESTED, &attribute(1, &0_u32.to_be_bytes()));
    let verdict = attribute(2 | NESTED, &code);
    expression(b"immediate\0", &[attribute(1, &0_u32.to_be_bytes()), verdict])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::super::inet_diag::fresh_netns::in_fresh_netns;
    use super::super::inet_diag::{Diag, TcpState};
    use super::*;

    fn half_open(port: u16) -> usize {
        let connections = Diag::open().and_then(|mut diag| diag.connections(port)).expect("dump");
        connections.iter().filter(|it| it.state == TcpState::SYN_RECV).count()
    }

    /// Three handshakes are held; then `meanwhile` does what it likes with the listener. Whether they end by a request.
    fn check(address: &str, meanwhile: impl FnOnce(TcpListener) -> TcpListener + Send, end: bool) {
        let address: SocketAddr = address.parse().expect("an address");
        in_fresh_netns(|_| {
            let listener = TcpListener::bind(address).expect("bind");
            let filter = AckFilter::raise(address.port()).expect("raise");
            let mut clients: Vec<TcpStream> =
                (0..3).map(|_| TcpStream::connect(address).expect("the client believes it")).collect();
            assert_eq!(half_open(address.port()), 3);
            let listener = meanwhile(listener);
            filter.lift().expect("lift");
            for client in &mut clients {
                client.write_all(b"hello").expect("it still believes it");
                client.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
                if !end {
                    let error = client.read(&mut [0]).expect_err("nobody knows of it");
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                }
            }
            for _ in clients.iter().filter(|_| end) {
                let (mut stream, _) = listener.accept().expect("accept");
                let mut said = [0; 5];
                stream.read_exact(&mut said).expect("what was sent");
                assert_eq!(&said, b"hello");
            }
        });
    }

    #[test]
    fn a_handshake_is_held_and_ends_with_the_first_bytes_of_a_request() {
        check("127.0.0.1:10086", |listener| listener, true);
        check("[::1]:10086", |listener| listener, true);
    }

    #[test]
    fn a_handshake_is_lost_with_its_listener() {
        let bound_anew = |listener: TcpListener| {
            drop(listener);
            TcpListener::bind("127.0.0.1:10086").expect("bind again")
        };
        check("127.0.0.1:10086", bound_anew, false);
    }

    #[test]
    fn other_ports_are_left_alone() {
        in_fresh_netns(|_| {
            let listener = TcpListener::bind("127.0.0.1:10087").expect("bind");
            let _filter = AckFilter::raise(10086).expect("raise");
            let _client = TcpStream::connect("127.0.0.1:10087").expect("connect");
            assert_eq!(half_open(10087), 0);
            listener.accept().expect("it is complete");
        });
    }
}
