//! One dump of all listening sockets by inet_diag: the observer takes one every millisecond.

use std::net::TcpListener;

use criterion::Criterion;
use unbroken::kernel::inet_diag::Diag;

fn main() {
    unbroken::run_if_asked();
    unbroken_reference::run_if_asked();
    let _one = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("inet-diag/listeners", |bencher| {
        let mut diag = Diag::open().expect("sock_diag");
        bencher.iter(|| diag.listen_sockets().expect("a dump"));
    });
    criterion.final_summary();
}
