//! From a history to verdicts: 100 000 requests through one upgrade; and from the file of a load to its outages: ten million requests.

use criterion::Criterion;
use unbroken::catalogue::Catalogue;
use unbroken::clock::{Interval, Nanos};
use unbroken::drive::codec::{BLOCK, decode, encode};
use unbroken::drive::{Record, Silence, longest_silence, outages};
use unbroken::event::{Event, What};
use unbroken::history::History;
use unbroken::id::{UpgradeId, Version};
use unbroken::judge::judge;
use unbroken::machine::{Machine, Tier};
use unbroken::plan::Plan;
use unbroken::request::{Ending, LoadAccount, Pattern, Request};

const REQUESTS: u64 = 100_000;
const LOAD: u64 = 10_000_000;
/// One request a millisecond; the trigger falls in the middle.
const EVERY: u64 = 1_000_000;

fn main() {
    unbroken::run_if_asked();
    unbroken_reference::run_if_asked();
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let history = history();
    criterion.bench_function("judge/100000-requests", |bencher| {
        bencher.iter(|| judge(&history, &|_| true));
    });
    let mut group = criterion.benchmark_group("load");
    let blocks = blocks();
    group.sample_size(10).bench_function("10000000-requests", |bencher| bencher.iter(|| worst(&blocks)));
    group.finish();
    criterion.final_summary();
}

/// Ten million requests, 20 000 a second, as a file has them when it is unpacked.
fn blocks() -> Vec<Vec<u8>> {
    let record = |at: u64| {
        let began = 50_000 * at + 10_000 + at * 7919 % 50_000;
        let ended = Nanos(began + 40_000 + at * 104_729 % 40_000);
        Record {
            intended: Nanos(50_000 * at),
            began: Nanos(began),
            ended,
            received: 170,
            connection: (at * 31 % 64) as u32,
        }
    };
    let block = |nth: u64| {
        let first = nth * BLOCK as u64;
        let mut records: Vec<Record> = (first..(first + BLOCK as u64).min(LOAD)).map(record).collect();
        let mut bytes = Vec::new();
        encode(&mut records, &mut bytes);
        bytes
    };
    (0..LOAD.div_ceil(BLOCK as u64)).map(block).collect()
}

fn worst(blocks: &[Vec<u8>]) -> (usize, Option<Silence>) {
    let all: Vec<Record> = blocks.iter().flat_map(|it| decode(it).expect("it was encoded")).collect();
    assert_eq!(all.len() as u64, LOAD);
    (outages(&all, &[]).len(), longest_silence(&all))
}

fn history() -> History {
    let middle = REQUESTS / 2 * EVERY;
    let (upgrade, version) = (UpgradeId(1), Version(2));
    let told = [
        (0, What::Ready { by: "answers on http".to_owned() }),
        (middle, What::Triggered { upgrade, version, action: "signal HUP to main".to_owned() }),
        (middle + 10 * EVERY, What::UpgradeDone { upgrade, by: "new version".to_owned() }),
        (middle + 100 * EVERY, What::UpgradeSettled { upgrade }),
        (REQUESTS * EVERY, What::StopAsked { action: "signal TERM to main".to_owned() }),
    ];
    let event = |(seq, (at, what))| Event { seq, at: Interval::at(Nanos(at)), what };
    History {
        began: "2000-01-01T00:00:00Z".to_owned(),
        plan: plan(),
        events: (0..).zip(told).map(event).collect(),
        requests: (0..REQUESTS).map(|id| request(id, if id * EVERY < middle { 1 } else { 2 })).collect(),
        account: LoadAccount { scheduled: REQUESTS, ended: REQUESTS, ..LoadAccount::default() },
        lost_events: 0,
        faults: Vec::new(),
    }
}

fn plan() -> Plan {
    let catalogue = Catalogue::embedded();
    let machine = Machine {
        tier: Tier::A,
        tier_reason: String::new(),
        kernel: "6.1".to_owned(),
        processors: 2,
        uid: 0,
        listen_hook: true,
        no_systemd: None,
        no_task_groups: None,
        no_clients: None,
        programs: std::collections::BTreeMap::new(),
    };
    let target = catalogue.target("reference/exec-inherit-signal").expect("it is embedded");
    let scenario = catalogue.scenario("restart/upgrade-under-load").expect("it is embedded");
    Plan::new(target, scenario, &machine, 1).expect("it claims what the scenario needs")
}

/// Every other one on a connection of its own, the rest on kept ones.
fn request(id: u64, version: u32) -> Request {
    let at = Nanos(id * EVERY);
    let fresh = id.is_multiple_of(2);
    Request {
        id,
        pattern: if fresh { Pattern::Fresh } else { Pattern::Busy },
        endpoint: 0,
        connection: if fresh { id } else { id % 16 },
        local_port: 40_000,
        nth_on_connection: if fresh { 0 } else { u32::try_from(id / 16).expect("below 2^32") },
        intended: at,
        began: at,
        connected: fresh.then_some(at),
        sent: Some(at),
        first_byte: Some(Nanos(at.0 + 300_000)),
        ended: Nanos(at.0 + 400_000),
        bytes_sent: 60,
        bytes_received: 120,
        retransmits: 0,
        tls: None,
        ending: Ending::Answered { status: Some(200), version: Some(Version(version)), close_announced: fresh },
    }
}
