//! A rule that meets what comes in by one interface, and counts it: packets that a network loses, and connects that it refuses.

use std::io;

use rustix::net::netlink::NETFILTER;

use super::{
    DELETE_RULE, DELETE_TABLE, DESTINATION_AT, FLAGS_AT, INET, L4PROTO, NEW_CHAIN, NEW_RULE, NEW_TABLE, REGISTER,
    SUBSYSTEM, TCP, commit, dropped, equals, expression, input_chain, loaded, loaded_meta, message, rule,
};
use crate::kernel::netlink::{NESTED, Netlink, attribute, find};

/// Beside the table of half-open handshakes.
const TABLE: &[u8] = b"path\0";
const CHAIN: &[u8] = b"arrived\0";
const COUNTER: &[u8] = b"met\0";

const NEW_OBJECT: u16 = SUBSYSTEM << 8 | 18;
const GET_OBJECT: u16 = SUBSYSTEM << 8 | 19;
/// NFT_OBJECT_COUNTER.
const OF_COUNTERS: u32 = 1;
/// NFT_META_IIFNAME; a name has 16 bytes (IFNAMSIZ), and so has the register.
const ARRIVAL: u32 = 6;
const NAME_BYTES: usize = 16;
/// Of the flags of a TCP header FIN, SYN, RST and ACK; and of these SYN alone, which is a connect.
const HANDSHAKE: u8 = 0x17;
const CONNECT: u8 = 0x02;
/// Behind `nlmsghdr` and `nfgenmsg`.
const ATTRIBUTES_AT: usize = 20;

/// What becomes of the packets that a rule meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Every packet of TCP is lost.
    Lost,
    /// Every connect to this port is answered with RST.
    Rejected {
        /// The port.
        port: u16,
    },
}

/// Such a rule, in the network namespace of the thread that raised it.
#[derive(Debug)]
pub struct PathFilter {
    netlink: Netlink,
}

impl PathFilter {
    /// From now on this becomes of what comes in by the interface.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or the thread no CAP_NET_ADMIN over its network namespace.
    pub fn raise(interface: &str, fate: Fate) -> io::Result<PathFilter> {
        let mut netlink = Netlink::open(Some(NETFILTER))?;
        let mut name = interface.as_bytes().to_vec();
        name.resize(NAME_BYTES, 0);
        let mut expressions = vec![loaded_meta(ARRIVAL), equals(&name), loaded_meta(L4PROTO), equals(&[TCP])];
        match fate {
            Fate::Lost => expressions.extend([counted(), dropped()]),
            Fate::Rejected { port } => {
                expressions.extend([loaded(DESTINATION_AT, 2), equals(&port.to_be_bytes())]);
                expressions.extend([loaded(FLAGS_AT, 1), masked(HANDSHAKE), equals(&[CONNECT])]);
                expressions.extend([counted(), rejected()]);
            }
        }
        // NFTA_OBJ_DATA: nothing, for it begins at 0.
        let counter = [named_counter(), attribute(4 | NESTED, &[])].concat();
        let messages = [
            (NEW_TABLE, attribute(1, TABLE)),
            (NEW_OBJECT, counter),
            (NEW_CHAIN, input_chain(TABLE, CHAIN)),
            (NEW_RULE, rule(TABLE, CHAIN, &expressions)),
        ];
        commit(&mut netlink, &messages)?;
        Ok(PathFilter { netlink })
    }

    /// Lets everything pass again, and tells how many packets the rule has met. Without that it stays until its namespace ends.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lift(&mut self) -> io::Result<u64> {
        // The rules of the chain; it takes tens of milliseconds until its hook is gone, too. NFTA_RULE_TABLE, _CHAIN.
        commit(&mut self.netlink, &[(DELETE_RULE, [attribute(1, TABLE), attribute(2, CHAIN)].concat())])?;
        self.netlink.send(&message((GET_OBJECT, 0), (INET, 0), &named_counter()))?;
        // NFTA_OBJ_DATA, NFTA_COUNTER_PACKETS.
        let told = self.netlink.receive()?.get(ATTRIBUTES_AT..).and_then(|object| find(find(object, 4)?, 2));
        let count = told.and_then(|count| count.try_into().ok()).map(u64::from_be_bytes);
        count.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the counter of a rule is not told"))
    }

    /// Takes what is left of it away, so that another one can be raised.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(mut self) -> io::Result<()> {
        commit(&mut self.netlink, &[(DELETE_TABLE, attribute(1, TABLE))])
    }
}

/// NFTA_OBJ_TABLE, _NAME, _TYPE.
fn named_counter() -> Vec<u8> {
    [attribute(1, TABLE), attribute(2, COUNTER), attribute(3, &OF_COUNTERS.to_be_bytes())].concat()
}

/// Counts the packet: NFTA_OBJREF_IMM_TYPE, _IMM_NAME.
fn counted() -> Vec<u8> {
    expression(b"objref\0", &[attribute(1, &OF_COUNTERS.to_be_bytes()), attribute(2, COUNTER)])
}

/// Keeps these bits of the byte in the register: NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR (NFTA_DATA_VALUE each).
fn masked(bits: u8) -> Vec<u8> {
    let number = |kind: u16, value: u32| attribute(kind, &value.to_be_bytes());
    let data = |kind: u16, byte: u8| attribute(kind | NESTED, &attribute(1, &[byte]));
    expression(b"bitwise\0", &[number(1, REGISTER), number(2, REGISTER), number(3, 1), data(4, bits), data(5, 0)])
}

/// NFTA_REJECT_TYPE: NFT_REJECT_TCP_RST.
fn rejected() -> Vec<u8> {
    expression(b"reject\0", &[attribute(1, &1_u32.to_be_bytes())])
}
