//! Moments in which nobody listens: which of them the load meets, and that the listener's identity tells them all.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde::Serialize;

use super::CalibrationError;
use super::server::ANSWER;
use crate::drive::{DrivePlan, Lost, Pace};
use crate::id::Cookie;
use crate::kernel::clock::monotonic;
use crate::kernel::inet_diag::Diag;
use crate::load::fast::drive;
use crate::wait::{Stop, readable_within};

/// For how long nobody listens, in microseconds.
const LENGTHS: [u64; 5] = [0, 100, 1_000, 5_000, 20_000];
/// Fresh connections a second.
const RATES: [f64; 3] = [200.0, 1_000.0, 4_000.0];
/// Between two gaps somebody listens for so long, at least.
const BETWEEN: Duration = Duration::from_millis(20);
/// And for up to so much longer: many times the distance of two connects.
const AWAY_FROM_SCHEDULE: Duration = Duration::from_millis(10);
/// Multiples of the golden ratio's fraction are spread evenly over the unit, and fit no rhythm.
const GOLDEN: f64 = 0.618_033_988_749_895;
/// Length of the accept queue.
const BACKLOG: i32 = 1024;

/// Gaps of one length under one rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GapRow {
    /// For how long nobody listened, in microseconds: what was asked for; bind(2) and listen(2) add some ten.
    pub length_us: u64,
    /// Fresh connections a second.
    pub rate: f64,
    /// How many gaps there were.
    pub made: u64,
    /// In how many of them the load lost a request.
    pub by_load: u64,
    /// In how many of them a dump before and one after showed two sockets (their cookies differ).
    pub by_identity: u64,
}

/// All lengths under all rates, each so often.
pub(super) fn gaps(
    times: u32,
    stop: &Stop,
    see: &mut (dyn FnMut(&str) + Send),
) -> Result<Vec<GapRow>, CalibrationError> {
    let mut rows = Vec::new();
    for rate in RATES {
        for length_us in LENGTHS {
            see(&format!("gaps of {length_us} µs at {rate} connections a second"));
            rows.push(under_load(times, length_us, rate, stop)?);
        }
    }
    Ok(rows)
}

/// Between two gaps, and while the load ends, a client is waited for this long.
const PATIENCE: Duration = Duration::from_millis(5);

/// When a gap began and ended (CLOCK_MONOTONIC, nanoseconds), and whether the dumps showed it.
struct Gap {
    from: u64,
    to: u64,
    is_shown: bool,
}

fn under_load(times: u32, length_us: u64, rate: f64, stop: &Stop) -> Result<GapRow, CalibrationError> {
    let mut listener = listen(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let over = Stop::new()?;
    let plan = DrivePlan {
        kept: false,
        connections: 256,
        pace: Pace::PerSecond(rate),
        duration: Duration::from_secs(600),
        ..DrivePlan::new(listener.local_addr()?)
    };
    let (gaps, report) = std::thread::scope(|scope| {
        let driving = scope.spawn(|| drive(&plan, BETWEEN, &over, &mut |_| {}));
        let gaps = serve(&mut listener, (times, Duration::from_micros(length_us)), stop);
        over.ask();
        // Whoever is still on his way is answered: nothing but a gap loses anything.
        let served = serve_until(&listener, || driving.is_finished());
        let report = driving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (served.map_err(CalibrationError::from).and(gaps), report)
    });
    let (gaps, report) = (gaps?, report?);
    let in_gap =
        |gap: &Gap, lost: &Lost| report.origin + lost.ended.0 >= gap.from && report.origin + lost.began.0 <= gap.to;
    let by_load = gaps.iter().filter(|gap| report.losses.iter().any(|lost| in_gap(gap, lost))).count();
    Ok(GapRow {
        length_us,
        rate,
        made: gaps.len() as u64,
        by_load: by_load as u64,
        by_identity: gaps.iter().filter(|it| it.is_shown).count() as u64,
    })
}

fn serve_until(listener: &TcpListener, is_over: impl Fn() -> bool) -> io::Result<()> {
    while !is_over() {
        answer_within(listener, PATIENCE)?;
    }
    Ok(())
}

/// Serves one connection after the other, and makes the gaps.
fn serve(
    listener: &mut TcpListener,
    (times, length): (u32, Duration),
    stop: &Stop,
) -> Result<Vec<Gap>, CalibrationError> {
    let SocketAddr::V4(address) = listener.local_addr()? else { unreachable!("it was bound to IPv4") };
    let mut diag = Diag::open()?;
    let mut gaps = Vec::new();
    for n in 0..times {
        // At an instant that no schedule knows of: neither with a client nor between two.
        let until = Instant::now() + BETWEEN + AWAY_FROM_SCHEDULE.mul_f64((f64::from(n) * GOLDEN).fract());
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            answer_within(listener, left)?;
        }
        if stop.is_asked() {
            return Err(CalibrationError::Interrupted);
        }
        let before = cookies(&mut diag, address)?;
        let from = monotonic();
        // Closed before the next one is bound: without SO_REUSEPORT there cannot be two.
        drop(std::mem::replace(listener, listen(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?));
        let closed = Instant::now();
        while closed.elapsed() < length {
            std::hint::spin_loop();
        }
        *listener = listen(address)?;
        let to = monotonic();
        gaps.push(Gap { from, to, is_shown: before != cookies(&mut diag, address)? });
    }
    Ok(gaps)
}

/// Answers one client that comes within this time; false when none did.
fn answer_within(listener: &TcpListener, limit: Duration) -> io::Result<bool> {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    if !readable_within(listener.as_fd(), limit) {
        return Ok(false);
    }
    match listener.accept() {
        Ok((mut stream, _)) => {
            // Its request is one write, made as soon as it is connected.
            let _request = stream.read(&mut [0u8; 1024]);
            let _answer = stream.write_all(ANSWER);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        // It was gone before it was accepted.
        Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => Ok(true),
        Err(error) => Err(error),
    }
}

fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of the one before are in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// The identities of the sockets that listen there.
fn cookies(diag: &mut Diag, address: SocketAddrV4) -> io::Result<Vec<Cookie>> {
    let sockets = diag.listen_sockets()?;
    Ok(sockets.into_iter().filter(|it| it.local == SocketAddr::V4(address)).map(|it| it.cookie).collect())
}
