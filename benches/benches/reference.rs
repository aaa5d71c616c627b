//! From spawn to the first answer of the reference server: master, generation, readiness, one request.

use std::time::{Duration, Instant};

use criterion::Criterion;
use unbroken_benches::Reference;

fn main() {
    unbroken::run_if_asked();
    unbroken_reference::run_if_asked();
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    criterion.bench_function("reference/spawn-to-answer", |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let began = Instant::now();
                let server = Reference::start().expect("the reference starts");
                let answer = server.ask().expect("the reference answers");
                took += began.elapsed();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
            took
        });
    });
    criterion.final_summary();
}
