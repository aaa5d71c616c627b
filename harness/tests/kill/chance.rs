//! Seeded chance: splitmix64 (Steele, Lea, Flood 2014), which gives well-mixed numbers from any seed.

use std::time::Duration;

/// A stream of numbers.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The stream of a seed and a name: cells with one seed have streams of their own.
    pub(crate) fn new(seed: u64, name: &str) -> Chance {
        Chance(name.bytes().fold(seed, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(byte.into())))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.next() % of.len() as u64).expect("below the length of a slice")]
    }

    /// At most this long.
    pub(crate) fn within(&mut self, most: Duration) -> Duration {
        // 53 bits: a fraction in [0, 1) that an f64 holds exactly.
        most.mul_f64((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// A seed that is easy to type.
pub(crate) fn new_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("seed") >> 32
}
