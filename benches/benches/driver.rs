//! What a request costs the driver at full speed: over kept connections, and with a connection for each.
//!
//! The server is a thread for each connection in this process; what bounds the rate is mostly it. The figure is processor time of the
//! driver's thread for each answered request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use unbroken::drive::DrivePlan;
use unbroken::load::fast::drive;
use unbroken::wait::Stop;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// One sample: some thousands of requests.
const SAMPLE: Duration = Duration::from_millis(200);

fn main() {
    unbroken::run_if_asked();
    unbroken_reference::run_if_asked();
    let to = serve();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("driver");
    // A sample lasts as long however often it is asked for.
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(SAMPLE * 2).measurement_time(SAMPLE * 20);
    for (name, kept) in [("kept", true), ("fresh", false)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let plan = DrivePlan { kept, duration: SAMPLE, ..DrivePlan::new(to) };
                let stop = Stop::new().expect("an eventfd");
                let report = drive(&plan, SAMPLE, &stop, &mut |_seen| {}).expect("it drives");
                assert_eq!(report.lost(), 0, "{report:?}");
                let each = report.processor as f64 / report.answered.max(1) as f64;
                Duration::from_secs_f64(each * iterations as f64 / 1e9)
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

/// Answers whatever comes, until the process ends.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has a name");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    // A failure is the end of the connection.
    let _ = stream.set_nodelay(true);
    let mut request = [0; 4096];
    let mut length = 0;
    while let Ok(count @ 1..) = stream.read(&mut request[length..]) {
        length += count;
        if request[..length].ends_with(b"\r\n\r\n") {
            length = 0;
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}
