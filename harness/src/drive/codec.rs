//! Requests of a load as a file holds them: columns of small numbers.
//!
//! A block has up to [`BLOCK`] answered requests in the order of their instants. Each of its columns is a run of variable-length numbers
//! (LEB128), differences where neighbours are alike: an open loop's instants, the connections, the lengths of answers. What is left for gzip
//! is how late a request began and how long it took; the rest is nearly nothing.

use crate::clock::Nanos;

/// Requests of a block.
pub const BLOCK: usize = 4096;

/// An answered request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// When it was meant to be sent, in nanoseconds since the load began.
    pub intended: Nanos,
    /// When its work began.
    pub began: Nanos,
    /// When its answer was whole.
    pub ended: Nanos,
    /// Bytes of the answer; one that is longer than 4 GiB has this many.
    pub received: u32,
    /// The connection that carried it: the how many-th of the load.
    pub connection: u32,
}

// A minute at 20 000 a second is 38 MB.
const _: () = assert!(size_of::<Record>() <= 32);

/// Appends the bytes of these, which are put in order first.
pub fn encode(records: &mut [Record], into: &mut Vec<u8>) {
    records.sort_unstable_by_key(|it| (it.intended, it.connection));
    put(into, records.len() as u64);
    differences(records, into, |it| it.intended.0);
    for it in records.iter() {
        put(into, zigzag(it.began.0.wrapping_sub(it.intended.0)));
    }
    for it in records.iter() {
        put(into, zigzag(it.ended.0.wrapping_sub(it.began.0)));
    }
    differences(records, into, |it| u64::from(it.received));
    differences(records, into, |it| u64::from(it.connection));
}

/// What [`encode`] made; `None` of anything else.
#[must_use]
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Record>> {
    let from = &mut bytes;
    let count = usize::try_from(take(from)?).ok().filter(|count| *count <= BLOCK)?;
    let intended = sums(count, from)?;
    let late = offsets(&intended, from)?;
    let ended = offsets(&late, from)?;
    let (received, connection) = (sums(count, from)?, sums(count, from)?);
    let record = |at: usize| {
        Some(Record {
            intended: Nanos(intended[at]),
            began: Nanos(late[at]),
            ended: Nanos(ended[at]),
            received: u32::try_from(received[at]).ok()?,
            connection: u32::try_from(connection[at]).ok()?,
        })
    };
    from.is_empty().then(|| (0..count).map(record).collect())?
}

fn differences(records: &[Record], into: &mut Vec<u8>, of: impl Fn(&Record) -> u64) {
    let mut before = 0;
    for number in records.iter().map(of) {
        put(into, zigzag(number.wrapping_sub(before)));
        before = number;
    }
}

fn sums(count: usize, from: &mut &[u8]) -> Option<Vec<u64>> {
    let mut before = 0_u64;
    let next = |_| {
        before = before.wrapping_add(unzigzag(take(from)?));
        Some(before)
    };
    (0..count).map(next).collect()
}

fn offsets(base: &[u64], from: &mut &[u8]) -> Option<Vec<u64>> {
    base.iter().map(|base| Some(base.wrapping_add(unzigzag(take(from)?)))).collect()
}

/// Small differences are small numbers, whichever their sign (two's complement).
fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    (signed << 1 ^ signed >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Seven bits a byte, the lowest first; the highest bit says that there is more.
pub fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// The number at the front, which is taken away; `None` where there is none.
pub fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let nanos = || any::<u64>().prop_map(Nanos);
        (nanos(), nanos(), nanos(), any::<u32>(), any::<u32>()).prop_map(
            |(intended, began, ended, received, connection)| Record { intended, began, ended, received, connection },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back_in_order(mut records in prop::collection::vec(any_record(), 0..50)) {
            let mut bytes = Vec::new();
            encode(&mut records, &mut bytes);
            prop_assert_eq!(decode(&bytes), Some(records));
        }

        #[test]
        fn anything_else_is_refused_or_read_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = decode(&bytes);
        }
    }

    #[test]
    fn half_a_block_and_a_block_with_more_behind_it_are_refused() {
        let record = Record { intended: Nanos(5), began: Nanos(6), ended: Nanos(9), received: 7, connection: 1 };
        let mut bytes = Vec::new();
        encode(&mut [record; 3], &mut bytes);
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), None);
    }

    /// As they were measured of 20 000 requests a second: 10 to 60 µs late, answered within some 80 µs, on 64 connections.
    #[test]
    fn a_request_takes_fewer_than_eight_bytes_of_a_file() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let count = 20 * BLOCK as u64;
        for block in 0..20 {
            let one = |at| {
                let intended = 50_000 * (block * BLOCK as u64 + at);
                let began = intended + 10_000 + random(50_000);
                let ended = began + 40_000 + random(40_000);
                let connection = random(64) as u32;
                Record {
                    intended: Nanos(intended),
                    began: Nanos(began),
                    ended: Nanos(ended),
                    received: 170,
                    connection,
                }
            };
            let mut records: Vec<Record> = (0..BLOCK as u64).map(one).collect();
            let mut bytes = Vec::new();
            encode(&mut records, &mut bytes);
            file.write_all(&bytes).expect("memory");
        }
        let length = file.finish().expect("memory").len() as u64;
        assert!(length < 8 * count, "{length} bytes for {count} requests");
    }
}
