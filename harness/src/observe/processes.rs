//! Watches the process tree of the target, which processes hold its listeners, and which lack a processor.
//!
//! Sampling: a process that lives for less than a sample is not seen. Its exit is, by the reaper.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::account::Account;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::listeners::ListenerInodes;
use super::starvation::Starvation;
use super::vantage::Vantage;
use crate::clock::{Interval, Nanos};
use crate::event::{ProcessChange, What};
use crate::id::{Image, Pid};

const NAME: &str = "processes";
/// While something happens ([`Vantage::pace`]). A scan inside a pid namespace costs about 20 µs: 1 % of a core.
const SAMPLE: Duration = Duration::from_millis(2);
/// Reading the descriptors of each process is many times dearer than a scan: without a cause only this often, and in calm
/// times less.
const HOLDERS: Duration = Duration::from_millis(10);
/// Reading the waits of every thread costs some 8 µs each, and what matters are tenths of a second.
const WAITS: Duration = Duration::from_millis(200);

/// Scans after which a process without a start of its stack is one whose stack may not be read (50 ms): an execve(2)
/// that has to read its interpreter from a disk takes milliseconds.
const UNSETTLED_SCANS_MAX: u32 = 25;

/// One process as a scan shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRow {
    /// Its image. `start_stack` must be 0 while the kernel has not settled it: in execve(2) it shows a provisional
    /// value for as long as `start_code` (field 26 of `/proc/PID/stat`) is 0.
    pub image: Image,
    /// Its parent.
    pub ppid: Pid,
    /// Its session.
    pub session: Pid,
    /// Its controlling terminal, 0 for none.
    pub tty: i32,
    /// Its `comm`.
    pub name: String,
    /// Z or X.
    pub dead: bool,
}

/// The procfs of the target's pid namespace.
pub trait ProcessView: Send {
    /// All processes. One that ends meanwhile may be missing; that is no error.
    ///
    /// # Errors
    /// When procfs cannot be read at all.
    fn scan(&mut self) -> io::Result<Vec<ProcessRow>>;

    /// For how long each of its threads has waited for a processor since it began; empty when that cannot be told.
    fn waits(&mut self, pid: Pid) -> BTreeMap<Pid, Duration>;

    /// The executable's link; empty when unreadable.
    fn executable(&mut self, pid: Pid) -> String;

    /// The inodes of the sockets that it has open; empty when it is gone.
    fn sockets(&mut self, pid: Pid) -> Vec<u64>;
}

/// Observer of the process tree.
#[derive(Debug)]
pub struct ProcessObserver;

impl ProcessObserver {
    /// Starts it: every process that exists when this returns has its `Appeared`. `listeners` tells whose holders to
    /// look for.
    ///
    /// # Errors
    /// When procfs cannot be read.
    pub fn spawn(
        view: impl ProcessView + 'static,
        listeners: ListenerInodes,
        vantage: Vantage,
    ) -> Result<Handle, ObserveError> {
        spawn(NAME, vantage, move |vantage, account| {
            let now = vantage.clock.now();
            let mut watch = ProcessWatch {
                view,
                listeners,
                tree: BTreeMap::new(),
                unsettled: BTreeMap::new(),
                starvation: Starvation::default(),
                waits_at: now,
                scanned_at: now,
                holders: BTreeMap::new(),
                held_at: now,
                inodes: Vec::new(),
            };
            watch.sample(vantage, account)?;
            Ok(watch)
        })
    }
}

struct ProcessWatch<V> {
    view: V,
    listeners: ListenerInodes,
    /// The living, by pid.
    tree: BTreeMap<Pid, ProcessRow>,
    /// Never seen with a stack, and in how many scans.
    unsettled: BTreeMap<Pid, u32>,
    /// How they wait for a processor.
    starvation: Starvation,
    /// When the last look at their waiting began.
    waits_at: Nanos,
    /// When the last scan began.
    scanned_at: Nanos,
    /// The last answer for each listener that anyone held.
    holders: BTreeMap<u64, Vec<Image>>,
    /// When the last look for holders began.
    held_at: Nanos,
    /// The listeners at that look.
    inodes: Vec<u64>,
}

impl<V: ProcessView> Watch for ProcessWatch<V> {
    fn watch(mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        loop {
            let left = self.scanned_at.plus(vantage.pace(SAMPLE)).since(vantage.clock.now());
            let stopped = vantage.stop.pause(left);
            self.sample(vantage, account)?;
            if stopped {
                return Ok(());
            }
        }
    }
}

impl<V: ProcessView> ProcessWatch<V> {
    fn sample(&mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        let began = vantage.clock.now();
        let mut rows = self.view.scan().map_err(ObserveError::look(NAME, "scan the processes"))?;
        let at = Interval::new(self.scanned_at, vantage.clock.now());
        account.sampled(began);
        rows.retain(|row| !row.dead);
        let changed = self.compare(rows, at, vantage);
        if began.since(self.waits_at) >= WAITS {
            self.look_for_starvation(vantage);
            self.waits_at = began;
        }
        self.scanned_at = began;
        let inodes = self.listeners.get();
        // A newcomer in the middle of its first execve(2) may be a holder: without it the answer would be wrong.
        if !self.unsettled.is_empty() {
            return Ok(());
        }
        if changed || inodes != self.inodes || began.since(self.held_at) >= vantage.pace(HOLDERS) {
            self.look_for_holders(inodes, began, vantage);
        }
        Ok(())
    }

    /// Tells what differs from the last scan; true when anything does.
    fn compare(&mut self, rows: Vec<ProcessRow>, at: Interval, vantage: &Vantage) -> bool {
        let mut changes = Vec::new();
        let mut before = std::mem::take(&mut self.tree);
        let unsettled = std::mem::take(&mut self.unsettled);
        for row in rows {
            let pid = row.image.pid;
            let Some(row) = self.settle(row, before.get(&pid), &unsettled) else { continue };
            changes.extend(self.differences(before.remove(&pid), &row));
            self.tree.insert(pid, row);
        }
        // The gone first: a parent that waited for a child and then went on did so in this order.
        let gone: Vec<_> = before.into_values().map(|row| (row.image, ProcessChange::Gone)).collect();
        let any = !(gone.is_empty() && changes.is_empty());
        for (image, change) in gone.into_iter().chain(changes) {
            vantage.put(at, What::Process { image, change });
        }
        any
    }

    /// A process in the middle of execve(2) has no start of the stack: it keeps its last image, or waits for its first.
    fn settle(
        &mut self,
        row: ProcessRow,
        old: Option<&ProcessRow>,
        unsettled: &BTreeMap<Pid, u32>,
    ) -> Option<ProcessRow> {
        if row.image.start_stack != 0 {
            return Some(row);
        }
        if let Some(old) = old.filter(|old| old.image.start_ticks == row.image.start_ticks) {
            return Some(ProcessRow { image: old.image, ..row });
        }
        let scans = unsettled.get(&row.image.pid).copied().unwrap_or(0);
        if scans >= UNSETTLED_SCANS_MAX {
            return Some(row);
        }
        self.unsettled.insert(row.image.pid, scans + 1);
        None
    }

    fn differences(&mut self, old: Option<ProcessRow>, row: &ProcessRow) -> Vec<(Image, ProcessChange)> {
        let mut changes = Vec::new();
        match old {
            Some(old) if old.image == row.image => {
                if old.ppid != row.ppid {
                    changes.push((row.image, ProcessChange::Reparented { ppid: row.ppid }));
                }
                if (old.session, old.tty) != (row.session, row.tty) {
                    let change = ProcessChange::MovedSession { session: row.session, tty: row.tty };
                    changes.push((row.image, change));
                }
            }
            old => {
                changes.extend(old.map(|old| (old.image, ProcessChange::Gone)));
                let appeared = ProcessChange::Appeared {
                    ppid: row.ppid,
                    session: row.session,
                    tty: row.tty,
                    name: row.name.clone(),
                    executable: self.view.executable(row.image.pid),
                };
                changes.push((row.image, appeared));
            }
        }
        changes
    }

    fn look_for_starvation(&mut self, vantage: &Vantage) {
        for row in self.tree.values() {
            let waits = self.view.waits(row.image.pid);
            let at = Interval::new(self.waits_at, vantage.clock.now());
            if let Some((at, waited)) = self.starvation.look(row.image, &waits, at) {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                vantage.put(at, What::Starved { image: row.image, waited_ms });
            }
        }
        let tree = &self.tree;
        self.starvation.retain(|pid| tree.contains_key(&pid));
    }

    /// Looks who holds the listeners, and those that are listeners no more until nobody holds them.
    fn look_for_holders(&mut self, inodes: Vec<u64>, began: Nanos, vantage: &Vantage) {
        let mut held: BTreeMap<u64, Vec<Image>> =
            inodes.iter().chain(self.holders.keys()).map(|inode| (*inode, Vec::new())).collect();
        if !held.is_empty() {
            for row in self.tree.values() {
                for inode in self.view.sockets(row.image.pid) {
                    match held.get_mut(&inode) {
                        Some(images) if images.last() != Some(&row.image) => images.push(row.image),
                        _ => {}
                    }
                }
            }
        }
        let at = Interval::new(self.held_at, vantage.clock.now());
        for (inode, images) in &held {
            if self.holders.get(inode) != Some(images) {
                vantage.put(at, What::Holders { inode: *inode, images: images.clone() });
            }
        }
        held.retain(|inode, images| !images.is_empty() || inodes.contains(inode));
        self.holders = held;
        self.inodes = inodes;
        self.held_at = began;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::process::{Child, Command, Stdio};

    use super::super::fixture::Fixture;
    use super::*;

    /// The processes of this machine that are `root` or its children.
    struct Proc {
        root: Pid,
    }

    fn row(pid: Pid) -> Option<ProcessRow> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let name = stat[stat.find('(')? + 1..stat.rfind(')')?].to_owned();
        let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
        let number = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
        let pid_at = |field: usize| Pid(fields[field - 3].parse().expect("a pid"));
        Some(ProcessRow {
            image: Image { pid, start_ticks: number(22), start_stack: if number(26) == 0 { 0 } else { number(28) } },
            ppid: pid_at(4),
            session: pid_at(6),
            tty: pid_at(7).0,
            name,
            dead: matches!(fields[0], "Z" | "X"),
        })
    }

    impl ProcessView for Proc {
        fn scan(&mut self) -> io::Result<Vec<ProcessRow>> {
            let root = self.root;
            // proc_pid_task(5); absent once the root has ended.
            let children = fs::read_to_string(format!("/proc/{root}/task/{root}/children")).unwrap_or_default();
            let children = children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid);
            Ok([root].into_iter().chain(children).filter_map(row).collect())
        }

        fn waits(&mut self, _: Pid) -> BTreeMap<Pid, Duration> {
            // These tests are of the tree: nobody waits.
            BTreeMap::new()
        }

        fn executable(&mut self, pid: Pid) -> String {
            fs::read_link(format!("/proc/{pid}/exe")).map(|it| it.display().to_string()).unwrap_or_default()
        }

        fn sockets(&mut self, pid: Pid) -> Vec<u64> {
            let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
            let links = entries.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
            links.filter_map(|it| it.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
        }
    }

    fn pid(child: &Child) -> Pid {
        Pid(child.id().try_into().expect("a pid"))
    }

    fn process<T>(fixture: &Fixture, mut pick: impl FnMut(Image, ProcessChange) -> Option<T>) -> T {
        fixture.find(|_, what| match what {
            What::Process { image, change } => pick(image, change),
            _ => None,
        })
    }

    #[test]
    fn fork_exec_and_exit_of_a_real_process_are_seen() {
        let mut child = Command::new("sh").stdin(Stdio::piped()).spawn().expect("sh");
        let mut input = child.stdin.take().expect("piped");
        let root = pid(&child);
        let fixture = Fixture::new(None);
        let inodes = ListenerInodes::default();
        let handle = ProcessObserver::spawn(Proc { root }, inodes, fixture.vantage()).expect("spawn");
        let first = process(&fixture, |image, change| match change {
            ProcessChange::Appeared { .. } if image.pid == root => Some(image),
            _ => None,
        });
        input.write_all(b"sleep 100 &\n").expect("write");
        let sleep = process(&fixture, |image, change| match change {
            ProcessChange::Appeared { ppid, executable, .. } if ppid == root => {
                (!executable.ends_with("sh")).then_some(image)
            }
            _ => None,
        });
        input.write_all(b"kill $!\nwait\nexec sleep 100\n").expect("write");
        process(&fixture, |image, change| (image == sleep && change == ProcessChange::Gone).then_some(()));
        process(&fixture, |image, change| (image == first && change == ProcessChange::Gone).then_some(()));
        let second = process(&fixture, |image, change| match change {
            ProcessChange::Appeared { .. } if image.pid == root => Some(image),
            _ => None,
        });
        assert_eq!(second.start_ticks, first.start_ticks);
        assert_ne!(second.start_stack, first.start_stack);
        child.kill().expect("kill");
        // Not waited for yet: a zombie is gone already.
        process(&fixture, |image, change| (image == second && change == ProcessChange::Gone).then_some(()));
        child.wait().expect("wait");
        fixture.stop();
        handle.finish().expect("finish");
    }

    #[test]
    fn an_exec_that_is_caught_midway_is_one_change() {
        let fixture = Fixture::new(None);
        let now = fixture.vantage().clock.now();
        let mut watch = ProcessWatch {
            view: Proc { root: Pid(1) },
            listeners: ListenerInodes::default(),
            tree: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            starvation: Starvation::default(),
            waits_at: Nanos(0),
            scanned_at: now,
            holders: BTreeMap::new(),
            held_at: now,
            inodes: Vec::new(),
        };
        let row = |start_stack| ProcessRow {
            image: Image { pid: Pid(2), start_ticks: 5, start_stack },
            ppid: Pid(1),
            session: Pid(2),
            tty: 0,
            name: "it".to_owned(),
            dead: false,
        };
        let vantage = fixture.vantage();
        let changed =
            [0, 100, 100, 0, 0, 200].map(|stack| watch.compare(vec![row(stack)], Interval::at(now), &vantage));
        assert_eq!(changed, [false, true, false, false, false, true]);
        assert_eq!(fixture.take().len(), 3, "appeared, gone, appeared");
        // One whose stack may not be read appears in the end.
        let hidden = ProcessRow { image: Image { pid: Pid(3), start_ticks: 5, start_stack: 0 }, ..row(0) };
        let scans = (0..).find(|_| watch.compare(vec![row(200), hidden.clone()], Interval::at(now), &vantage));
        assert_eq!(scans, Some(UNSETTLED_SCANS_MAX));
    }

    #[test]
    fn holders_of_a_listener_are_told_as_they_come_and_go() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let inode = rustix::fs::fstat(listener.as_fd()).expect("fstat").st_ino;
        let inodes = ListenerInodes::default();
        inodes.set([inode].into_iter());
        // The only descriptors of the child are the standard three: it holds the listener as its input.
        let copy = listener.as_fd().try_clone_to_owned().expect("dup");
        let mut child = Command::new("sleep").arg("100").stdin(copy).spawn().expect("sleep");
        let root = pid(&child);
        let fixture = Fixture::new(None);
        let handle = ProcessObserver::spawn(Proc { root }, inodes, fixture.vantage()).expect("spawn");
        let holders = || {
            fixture.find(|_, what| match what {
                What::Holders { inode: it, images } if it == inode => Some(images),
                _ => None,
            })
        };
        assert_eq!(holders().iter().map(|image| image.pid).collect::<Vec<_>>(), [root]);
        child.kill().expect("kill");
        assert_eq!(holders(), []);
        child.wait().expect("wait");
        fixture.stop();
        handle.finish().expect("finish");
    }
}
