//! When requests are meant to be sent: rates, rhythms, and the timer that keeps them. Open loop: the next instant never
//! depends on an answer (wrk2).

use std::io;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use crate::clock::Nanos;
use crate::kernel::clock::Clock;
use crate::kernel::timer::Timer;

/// 333 fresh connections/s: far enough above the floor of 200/s that a harness that is late for a third of a second in a
/// drain of one (measured beside two processor hogs and a build) still reaches it.
pub(super) const FRESH_EVERY: Duration = Duration::from_millis(3);
/// 100 requests/s, as the trust rule for the canary says.
pub(super) const CANARY_EVERY: Duration = Duration::from_millis(10);
/// 16 kept connections: a third above the floor of 12, so that some may be reconnecting.
pub(super) const BUSY_CONNECTIONS: u32 = 16;
/// One request every 20 ms on each kept connection: 800/s together, and mostly idle in between as browsers' are.
pub(super) const BUSY_EVERY: Duration = Duration::from_millis(20);
/// 15 slow requests in flight: half above the floor of 10, for answers that come sooner than declared.
pub(super) const SLOW_IN_FLIGHT: u32 = 15;

/// 24 connections that are mostly idle: half above the floor of 16, because those that are reused just then do not count.
pub(super) const IDLE_CONNECTIONS: u32 = 24;
/// Idle for 0.5 to 1.5 s: half of what is idle at a trigger is used again within the next half second.
pub(super) const IDLE_EVERY: Duration = Duration::from_secs(1);
/// The first requests of the idle connections come within this time, so that a run need not wait for them.
pub(super) const IDLE_SPREAD: Duration = Duration::from_millis(200);
/// By Little's law 15 silent connections at any time; the floor is 8.
pub(super) const SILENT_EVERY: Duration = Duration::from_millis(60);
/// The same for half heads: 12, and the floor is 6.
pub(super) const HALF_EVERY: Duration = Duration::from_millis(75);
/// 8 HTTP/2 connections …
pub(super) const H2_PLACES: u32 = 8;
/// … each with a new stream every 20 ms: 400/s together, a fourth of which take long, so that some 60 are open where these take 600 ms.
pub(super) const H2_EVERY: Duration = Duration::from_millis(20);
/// 16 clients that speak TLS …
pub(super) const SECURE_PLACES: u32 = 16;
/// … each with a connection every 80 ms: 200 handshakes/s together.
pub(super) const SECURE_EVERY: Duration = Duration::from_millis(80);
/// 16 WebSockets, each with a message every 20 ms, as the busy kept connections have a request.
pub(super) const WEBSOCKETS: u32 = BUSY_CONNECTIONS;
/// 16 flows: twice the floor.
pub(super) const FLOWS: u32 = 16;
/// A datagram every 40 ms on each: 400/s together, of which a few come while one generation takes over from another.
pub(super) const FLOW_EVERY: Duration = Duration::from_millis(40);
/// Slow readers: two, because each moves 16 MiB over the machine's own loopback once it is released.
pub(super) const READERS: u32 = 2;
/// SO_RCVBUF of a slow reader, set before connect(2): else the kernel takes up to 33 MB in for the client.
pub(super) const READER_BUFFER: usize = 16 * 1024;
/// A slow reader takes 4 KiB each 10 ms: in the longest upgrade that is far less than the body.
pub(super) const SIP_BYTES: usize = 4 * 1024;
/// Slow uploads.
pub(super) const UPLOADS: u32 = 4;
/// Length of an upload's body.
pub(super) const UPLOAD_BYTES: usize = 256 * 1024;
/// A slow upload sends 1 KiB each 10 ms …
pub(super) const UPLOAD_PIECE: usize = 1024;
/// … and keeps this much back until the upgrade is done.
pub(super) const UPLOAD_KEPT_BACK: usize = 64 * 1024;
/// The rest goes in so many pieces (half a second): a generation begins to drain a while after its successor answers, and
/// an upload that had ended by then would not have spanned the handoff.
pub(super) const UPLOAD_REST_PIECES: usize = 50;
/// Between two pieces of a slow body, read or sent.
pub(super) const PIECE_EVERY: Duration = Duration::from_millis(10);
/// A reader or an upload that has ended is followed by the next one after this time at the earliest.
pub(super) const BODY_EVERY: Duration = Duration::from_secs(1);

/// How long a connection is silent before its first byte, or in the middle of its head.
pub(super) const PAUSE: std::ops::Range<Duration> = Duration::from_millis(300)..Duration::from_millis(1500);

/// The distances between the instants of a schedule.
#[derive(Debug, Clone)]
pub(super) enum Rhythm {
    /// All alike.
    Even(Duration),
    /// 0.5 to 1.5 times the mean, evenly distributed: kept connections must not march in step.
    Jittered(Duration, Random),
}

impl Rhythm {
    fn next(&mut self) -> Duration {
        match self {
            Rhythm::Even(distance) => *distance,
            Rhythm::Jittered(mean, random) => mean.mul_f64(0.5 + random.fraction()),
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): every random choice of the load comes from the run's seed.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The `stream`-th generator of a seed; different streams are unrelated.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut random = Random(seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        random.next();
        random
    }

    /// At least the beginning of the range and before its end.
    pub(super) fn within(&mut self, range: &std::ops::Range<Duration>) -> Duration {
        range.start + (range.end - range.start).mul_f64(self.fraction())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 32 of them.
    pub(super) fn bits(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// At least 0 and below 1.
    pub(super) fn fraction(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Yields the intended instants of one schedule, each when it comes; late ones at once, none left out.
#[derive(Debug)]
pub(super) struct Ticker {
    timer: AsyncFd<Timer>,
    clock: Clock,
    next: Nanos,
    rhythm: Rhythm,
}

impl Ticker {
    /// A schedule whose first instant is `first`. Called in the load thread's runtime.
    ///
    /// # Errors
    /// When there is no descriptor left for the timer.
    pub(super) fn new(clock: Clock, first: Nanos, rhythm: Rhythm) -> io::Result<Ticker> {
        Ok(Ticker { timer: Timer::new()?.register()?, clock, next: first, rhythm })
    }

    /// The next intended instant, when it has come. Dropping the future loses nothing.
    ///
    /// # Errors
    /// None that a valid timer gives.
    pub(super) async fn tick(&mut self) -> io::Result<Nanos> {
        if self.clock.now() < self.next {
            self.timer.get_ref().arm(self.clock.origin() + self.next.0)?;
            loop {
                let mut ready = self.timer.readable().await?;
                if let Ok(taken) = ready.try_io(|timer| timer.get_ref().take()) {
                    taken?;
                    break;
                }
            }
        }
        let intended = self.next;
        self.next = intended.plus(self.rhythm.next());
        Ok(intended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(first: Nanos, clock: Clock, mut rhythm: Rhythm, count: u32) -> Vec<(Nanos, Nanos)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        rhythm = rhythm.clone();
        runtime.block_on(async {
            let mut ticker = Ticker::new(clock, first, rhythm).expect("ticker");
            let mut seen = Vec::new();
            for _ in 0..count {
                let intended = ticker.tick().await.expect("tick");
                seen.push((intended, clock.now()));
            }
            seen
        })
    }

    #[test]
    fn a_tick_never_comes_early_and_keeps_the_rhythm() {
        let clock = Clock::start();
        let first = clock.now().plus(Duration::from_millis(1));
        let every = Duration::from_millis(2);
        for (n, (intended, now)) in (0u32..).zip(ticks(first, clock, Rhythm::Even(every), 10)) {
            assert_eq!(intended, first.plus(every * n));
            assert!(now >= intended);
        }
    }

    #[test]
    fn missed_ticks_all_come_each_with_its_own_instant() {
        let clock = Clock::with_origin(Clock::start().origin() - 1_000_000_000);
        let seen = ticks(Nanos(0), clock, Rhythm::Even(Duration::from_millis(100)), 10);
        let intended: Vec<u64> = seen.iter().map(|(intended, _)| intended.0 / 100_000_000).collect();
        assert_eq!(intended, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn jitter_comes_from_the_seed_and_stays_within_its_bounds() {
        let mean = Duration::from_millis(20);
        let distances = |seed| {
            let mut rhythm = Rhythm::Jittered(mean, Random::new(seed, 3));
            (0..1000).map(|_| rhythm.next()).collect::<Vec<_>>()
        };
        let first = distances(1);
        assert_eq!(first, distances(1));
        assert_ne!(first, distances(2));
        assert!(first.iter().all(|&it| it >= mean / 2 && it < mean * 3 / 2));
        let average = first.iter().sum::<Duration>() / 1000;
        assert!(average > mean.mul_f64(0.97) && average < mean.mul_f64(1.03), "{average:?}");
    }
}
