//! From the trigger of an upgrade to the first answer of the new generation, for each technique: durations from the history of a run,
//! not of the code around it.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use unbroken::catalogue::Catalogue;
use unbroken::machine::Machine;
use unbroken::measure::measures;
use unbroken::plan::Plan;
use unbroken::run::machine::prepare;
use unbroken::run::{Builds, Execution, execute, store};
use unbroken::wait::Stop;

/// One reference for each technique.
const TARGETS: [&str; 8] = [
    "reference/exec-inherit-signal",
    "reference/takeover",
    "reference/fd-handover",
    "reference/reuseport-safe",
    "reference/activated",
    "reference/prefork",
    "reference/re-exec",
    "reference/exec-inherit",
];
/// Upgrades of one run at most: a run has its beginning and its end, and some upgrades share them.
const UPGRADES_MAX: u64 = 20;

fn main() {
    unbroken::run_if_asked();
    unbroken_reference::run_if_asked();
    // Before the first thread: an unprivileged tier enters its user namespace here.
    let machine = prepare(None, [], &[]).expect("some tier works");
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("handoff");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(10));
    let directory = std::env::temp_dir().join(format!("unbroken-handoff-{}", std::process::id()));
    for target in TARGETS {
        group.bench_function(target, |bencher| {
            bencher.iter_custom(|iterations| handoffs(target, iterations, &machine, &directory));
        });
    }
    group.finish();
    criterion.final_summary();
}

/// So many handoffs, or as many as share a run, taken for all of them.
fn handoffs(target: &str, iterations: u64, machine: &Machine, directory: &Path) -> Duration {
    let catalogue = Catalogue::embedded();
    let upgrades = u32::try_from(iterations.min(UPGRADES_MAX)).expect("it is small");
    let scenario = catalogue.scenario("restart/sequential").expect("it is embedded");
    let scenario = scenario.with_sequential(upgrades).expect("it makes upgrades in a row");
    let plan =
        Plan::new(catalogue.target(target).expect("it is embedded"), &scenario, machine, 1).expect("it runs here");
    let (stop, builds) = (Stop::new().expect("an eventfd"), Builds::below(directory));
    let execution = Execution { directory, builds: &builds, stop: &stop, progress: &mut |_step| {} };
    execute(&plan, execution).expect("a run");
    let history = store::read(directory).expect("its records");
    std::fs::remove_dir_all(directory).expect("it is ours");
    let handoffs: Vec<f64> = measures(&history).iter().filter_map(|it| it.handoff_ms).collect();
    assert!(!handoffs.is_empty(), "{target} took over");
    let mean = handoffs.iter().sum::<f64>() / handoffs.len() as f64;
    Duration::from_secs_f64(mean / 1e3 * iterations as f64)
}
