//! A token bucket at an interface (tc-tbf(8)), by rtnetlink(7): what leaves by it waits until its rate lets it go.

use std::io;

use super::netlink::{NESTED, Netlink, attribute, find, message};
use super::veth::index;
use crate::event::{PassedShape, Shape};

/// TC_H_ROOT, and the name that ours has there (1:).
const ROOT: u32 = u32::MAX;
const HANDLE: u32 = 1 << 16;
/// TC_LINKLAYER_ETHERNET: the kernel reckons by itself, and needs no table.
const ETHERNET: u8 = 1;
/// TCA_KIND, TCA_OPTIONS, TCA_STATS2.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const STATISTICS: u16 = 7;
/// More than any packet has, and at 4 GiB/s a quarter of a millisecond.
const OPEN_BURST: u32 = 1 << 20;
/// Behind `nlmsghdr` and `tcmsg`.
const ATTRIBUTES_AT: usize = 36;

/// Such a bucket, in the network namespace of the thread that put it there.
#[derive(Debug)]
pub struct Shaper {
    netlink: Netlink,
    index: u32,
}

impl Shaper {
    /// From now on what leaves by this interface is shaped.
    ///
    /// # Errors
    /// When the kernel has no tbf, or the thread no CAP_NET_ADMIN over its network namespace.
    pub fn raise(interface: &str, shape: &Shape) -> io::Result<Shaper> {
        let mut shaper = Shaper { netlink: Netlink::open(None)?, index: index(interface)? };
        shaper.set(parameters(shape), shape.burst_bytes)?;
        Ok(shaper)
    }

    /// Lets go what waits, and from now on everything at once; and tells what has come by until then. The bucket stays until its
    /// namespace ends: with it would be lost what waits there. Without this it keeps its shape until then.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lift(&mut self) -> io::Result<PassedShape> {
        let passed = self.passed()?;
        self.set(raw_parameters(u32::MAX, u32::MAX), OPEN_BURST)?;
        Ok(passed)
    }

    fn set(&mut self, parameters: Vec<u8>, burst: u32) -> io::Result<()> {
        // TCA_TBF_PARMS, TCA_TBF_BURST.
        let options = [attribute(1, &parameters), attribute(6, &burst.to_ne_bytes())].concat();
        let options = [attribute(KIND, b"tbf\0"), attribute(OPTIONS | NESTED, &options)].concat();
        let create = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        self.netlink.send(&message(libc::RTM_NEWQDISC, create, &[self.place(HANDLE), options].concat()))?;
        self.netlink.acknowledged()
    }

    fn passed(&mut self) -> io::Result<PassedShape> {
        self.netlink.send(&message(libc::RTM_GETQDISC, libc::NLM_F_DUMP, &self.place(0)))?;
        let mut found = None;
        loop {
            let mut rest = self.netlink.receive()?;
            while let [a, b, c, d, kind_low, kind_high, ..] = *rest {
                let length = u32::from_ne_bytes([a, b, c, d]) as usize;
                match i32::from(u16::from_ne_bytes([kind_low, kind_high])) {
                    libc::NLMSG_DONE => return found.ok_or_else(untold),
                    libc::NLMSG_ERROR => return Err(untold()),
                    _ => {}
                }
                let row = rest.get(..length).ok_or_else(untold)?;
                if is_ours(row, self.index) {
                    found = row.get(ATTRIBUTES_AT..).and_then(|row| statistics(find(row, STATISTICS)?));
                }
                rest = rest.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }

    /// `tcmsg`: family, index of the interface, handle, parent.
    fn place(&self, handle: u32) -> Vec<u8> {
        [[0; 4], self.index.to_ne_bytes(), handle.to_ne_bytes(), ROOT.to_ne_bytes(), [0; 4]].concat()
    }
}

/// A row of qdiscs is that of this interface's root, and has our name.
fn is_ours(row: &[u8], index: u32) -> bool {
    let number = |at: usize| row.get(at..at + 4).and_then(|it| it.try_into().ok()).map(u32::from_ne_bytes);
    number(20) == Some(index) && number(24) == Some(HANDLE)
}

fn untold() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the statistics of a token bucket are not told")
}

/// Its rate, and a queue for all that it lets go in its latency, and a burst.
fn parameters(shape: &Shape) -> Vec<u8> {
    let bytes_per_second = shape.rate_kbit.saturating_mul(1000) / 8;
    let limit = u64::from(bytes_per_second) * u64::from(shape.latency_ms) / 1000 + u64::from(shape.burst_bytes);
    raw_parameters(bytes_per_second, u32::try_from(limit).unwrap_or(u32::MAX))
}

/// `tc_tbf_qopt`: rate, peak rate (none), limit, buffer (by TCA_TBF_BURST) and MTU (of the peak rate).
fn raw_parameters(bytes_per_second: u32, limit: u32) -> Vec<u8> {
    // `tc_ratespec`: cells, link layer, overhead, alignment, least packet, bytes per second.
    let rate = [&[0, ETHERNET, 0, 0, 0, 0, 0, 0][..], &bytes_per_second.to_ne_bytes()].concat();
    [&rate[..], &[0; 12], &limit.to_ne_bytes(), &[0; 8]].concat()
}

/// TCA_STATS_BASIC (bytes, packets) and TCA_STATS_QUEUE (length of the queue, its bytes, lost, requeued, over the limit).
fn statistics(told: &[u8]) -> Option<PassedShape> {
    let (basic, queue) = (find(told, 1)?, find(told, 3)?);
    let number = |from: &[u8], at: usize| Some(u32::from_ne_bytes(from.get(at..at + 4)?.try_into().ok()?));
    Some(PassedShape {
        bytes: u64::from_ne_bytes(basic.get(..8)?.try_into().ok()?),
        waits: number(queue, 16)?,
        lost: number(queue, 8)?,
        waiting_bytes: number(queue, 4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_holds_what_its_rate_lets_go_in_its_latency_and_a_burst() {
        let shape = Shape { rate_kbit: 8000, burst_bytes: 2000, latency_ms: 50 };
        let parameters = parameters(&shape);
        let number = |at: usize| u32::from_ne_bytes(parameters[at..at + 4].try_into().expect("four bytes"));
        assert_eq!((parameters.len(), number(8), number(24)), (36, 1_000_000, 52_000));
    }
}
