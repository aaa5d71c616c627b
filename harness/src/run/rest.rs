//! Upgrade after upgrade, and the target at rest in between: what an upgrade leaves behind adds up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{AtRest, Resident, What};
use crate::id::{Image, Pid, UpgradeId};
use crate::kernel::inet_diag::{Connection, TcpState};
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};

/// The target is at rest when nothing has changed for this long: ten times what a server needs to close connections
/// that its clients have closed.
const STILL: Duration = Duration::from_millis(20);

/// How long rest is waited for. A zombie that its parent reaps late is gone by then; one that stays is a leak.
const REST_LIMIT: Duration = Duration::from_millis(200);

impl Stage<'_> {
    /// So many upgrades, each until the generation before is gone, and a snapshot after each. Ends early when one is not
    /// done: the next ones would not be either.
    pub(super) fn sequential(&mut self, upgrades: u32) -> Result<(), RunError> {
        for _ in 0..upgrades {
            self.upgrade()?;
            if self.last_upgrade.is_none() {
                return Ok(());
            }
            self.settle()?;
            self.rest()?;
        }
        Ok(())
    }

    /// Interrupts the load, takes the snapshot, and lets the load go on.
    pub(super) fn rest(&mut self) -> Result<(), RunError> {
        let load = self.load.as_ref().filter(|_| !self.patterns.is_empty());
        if let Some(load) = load {
            load.quiesce()?;
        }
        self.snapshot()?;
        if let Some(load) = load {
            load.begin(&self.patterns)?;
        }
        Ok(())
    }

    /// Waits until nothing changes any more, and tells what is there then.
    fn snapshot(&self) -> Result<(), RunError> {
        // What a client has closed the server closes when it runs next; until then it is a descriptor more.
        let _idle = self.within(self.plan.target.deadlines.request, || yes(self.serves_nobody()))?;
        let mut last = self.at_rest()?;
        let mut since = self.clock.now();
        // When it does not come to rest, the last look is the evidence.
        let _still = self.within(REST_LIMIT, || {
            let Ok(now) = self.at_rest() else { return yes(false) };
            if now != last {
                last = now;
                since = self.clock.now();
            }
            yes(last.1.is_empty() && self.clock.now().since(since) >= STILL)
        })?;
        let (processes, zombies) = last;
        let upgrade = UpgradeId(self.upgrades);
        let spent_ms = self.sandbox.procfs().spent_ms()?;
        let kib = self.resident(processes.iter().map(|row| row.image))?;
        self.sink.put_at(self.clock.now(), What::Quiescent { upgrade, processes, zombies });
        self.sink.put_at(self.clock.now(), What::Resident(Resident { upgrade, kib, spent_ms }));
        Ok(())
    }

    /// How much memory each of these has.
    fn resident(&self, images: impl Iterator<Item = Image>) -> Result<Vec<(Image, u64)>, RunError> {
        let mut rows = Vec::new();
        for image in images {
            let status = self.sandbox.procfs().read(&format!("{}/status", image.pid))?.unwrap_or_default();
            rows.extend(resident_kib(&String::from_utf8_lossy(&status)).map(|kib| (image, kib)));
        }
        Ok(rows)
    }

    /// No connection to an endpoint is held by a process, or waits to be.
    fn serves_nobody(&self) -> bool {
        let waits = |it: &Connection| it.inode != 0 || it.state == TcpState::ESTABLISHED;
        self.plan.target.endpoints.iter().all(|endpoint| {
            let open = self.diag.borrow_mut().connections(endpoint.address.port());
            open.is_ok_and(|open| !open.iter().any(waits))
        })
    }

    /// The live processes and the zombies of the target now.
    fn at_rest(&self) -> Result<(Vec<AtRest>, Vec<Image>), RunError> {
        let holders = self.holders()?;
        let procfs = self.sandbox.procfs();
        let (mut processes, mut zombies) = (Vec::new(), Vec::new());
        let stats = procfs.scan()?;
        let parents: BTreeMap<Pid, Pid> = stats.iter().map(|stat| (stat.image.pid, stat.ppid)).collect();
        let main = self.main.as_ref().map(|main| main.image.pid).filter(|main| parents.contains_key(main));
        let descends = |pid: Pid, from: Pid| {
            std::iter::successors(Some(pid), |pid| parents.get(pid).copied()).any(|pid| pid == from)
        };
        for stat in &stats {
            if stat.is_dead() {
                zombies.push(stat.image);
                continue;
            }
            let descriptors = procfs.descriptors(stat.image.pid)?.len();
            processes.push(AtRest {
                image: stat.image,
                descriptors,
                holds_listener: holders.contains(&stat.image),
                words: self.words_of(stat.image.pid)?,
                strays: main.is_some_and(|main| !descends(stat.image.pid, main)),
            });
        }
        Ok((processes, zombies))
    }

    /// The size of what it was executed with, where that may be read.
    fn words_of(&self, pid: Pid) -> Result<Option<usize>, RunError> {
        let read = |name: &str| self.sandbox.procfs().read(&format!("{pid}/{name}"));
        Ok(read("cmdline")?.zip(read("environ")?).map(|(arguments, environment)| size(&arguments) + size(&environment)))
    }
}

/// VmRSS of proc_pid_status(5).
fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Bytes, each run of digits as one: a process id or a counter may gain a digit, and that is no growth.
fn size(words: &[u8]) -> usize {
    let after = std::iter::once(&0).chain(words);
    words.iter().zip(after).filter(|(byte, before)| !(byte.is_ascii_digit() && before.is_ascii_digit())).count()
}

#[cfg(test)]
mod tests {
    use super::{resident_kib, size};

    #[test]
    fn the_resident_memory_is_read_and_a_zombie_has_none() {
        assert_eq!(resident_kib("Name:\tx\nVmRSS:\t    3480 kB\nRssAnon:\t 12 kB\n"), Some(3480));
        assert_eq!(resident_kib("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn a_number_that_gains_a_digit_is_no_growth() {
        assert_eq!(size(b"server\0PID=9\0"), size(b"server\0PID=1000\0"));
        assert_eq!(size(b"server\0PID=9\0"), 13);
        assert!(size(b"PID=9\0PID2=9\0") > size(b"PID=9\0"));
        assert_eq!(size(b""), 0);
    }
}
