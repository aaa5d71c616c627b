//! A sandbox made and taken down, in the best tier that this machine has.

use criterion::Criterion;
use unbroken::kernel::clock::Clock;
use unbroken::run::machine::prepare;
use unbroken::sandbox::Sandbox;

fn main() {
    unbroken::run_if_asked();
    unbroken_reference::run_if_asked();
    // Before the first thread: an unprivileged tier enters its user namespace here.
    let machine = prepare(None, [], &[]).expect("some tier works");
    let mut criterion = Criterion::default().sample_size(50).configure_from_args();
    criterion.bench_function(&format!("sandbox/tier-{}", machine.tier), |bencher| {
        bencher.iter(|| {
            let sandbox = Sandbox::create(machine.tier, Clock::start()).expect("a sandbox");
            sandbox.teardown().expect("it ends");
        });
    });
    criterion.final_summary();
}
