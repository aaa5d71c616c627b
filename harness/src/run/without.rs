//! An upgrade while the target lacks something that it may need: processes, descriptors, or room on its disk.
//!
//! What is withheld is withheld from the main process, which starts successors, and from what it begins meanwhile; workers that
//! serve already keep what they have. A main process that serves by itself lacks it for new connections, too.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::clock::Interval;
use crate::event::{Phase, Resource, Restored, What, Withheld};
use crate::id::{Pid, UpgradeId};
use crate::kernel::cgroup::tasks;
use crate::kernel::pidfd::PidfdError;
use crate::manifest::MainProcess;
use crate::process::limits;
use crate::ready::HalfRequest;
use crate::run::upgrade::{describe, yes};
use crate::run::{RunError, Stage};
use crate::target::TargetRestartStep;

/// The line of `/proc/PID/limits`.
const OPEN_FILES: &str = "Max open files";

/// How long a moment is waited for in which no number is free below the last descriptor that is open: connections come and go.
const COMPACT: Duration = Duration::from_millis(500);

/// Connections beside those that take what is missing: more than a load of fresh ones closes at a time.
const MORE: u64 = 16;

/// How to give it back. Whatever is not given back ends with the sandbox: no process of ours is concerned.
enum Bound {
    Tasks(PathBuf),
    /// With the connections that take what a main process that serves has closed meanwhile.
    Descriptors {
        limit: u64,
        before: u64,
        _filling: Vec<HalfRequest>,
    },
    Disk,
}

impl Stage<'_> {
    /// The restart steps without it; the load goes on for `lasts` until there is enough again, and for `after` then.
    pub(super) fn upgrade_without(
        &mut self,
        resource: Resource,
        lasts: Duration,
        after: Duration,
    ) -> Result<(), RunError> {
        let Some(restart) = self.plan.target.restart.clone() else { return Ok(()) };
        self.await_steady_load()?;
        let before = self.before_upgrade()?;
        self.phase(Phase::Trigger);
        // Whoever replaces it would free its room on the disk when the last process of it ends.
        let _executable = File::open(self.deployer.self_path()).ok();
        let (trigger, mut bound, mut until) = (restart.trigger(), None, Instant::now());
        for (index, step) in restart.steps.iter().enumerate() {
            if let TargetRestartStep::Wait(what) = step {
                // Who waits for what a success brings does not go on without it.
                let left = until.saturating_duration_since(Instant::now());
                if index > trigger && !self.comes(what, &before, left)? {
                    break;
                }
                continue;
            }
            // Not before: what is deployed is our own writing.
            if index == trigger {
                bound = self.withhold(before.id, resource)?;
                until = Instant::now() + lasts;
            }
            let began = self.clock.now();
            let outcome = self.restart_step(step, &before)?;
            if index == trigger {
                let what = What::TriggeredWithout { upgrade: before.id, action: describe(step), resource };
                self.sink.put(Interval::new(began, self.clock.now()), what);
            }
            if let Err(reason) = outcome {
                self.action_failed(&describe(step), &reason);
                break;
            }
        }
        if self.stop.pause(until.saturating_duration_since(Instant::now())) {
            return Err(RunError::Interrupted);
        }
        if let Some(bound) = bound {
            self.restore(before.id, &bound)?;
        }
        if self.stop.pause(after) {
            return Err(RunError::Interrupted);
        }
        self.follow_exec();
        if self.plan.target.main == MainProcess::Pidfile {
            self.find_main()?;
        }
        let survivor = self.main_by_service()?.map(|main| main.image.pid);
        let what = What::Survived { upgrade: before.id, pidfile: self.pidfile_look(), survivor };
        self.sink.put_at(self.clock.now(), what);
        if self.answers(before.version) {
            // It has succeeded all the same: the generation before is to go.
            self.last_upgrade = Some(before);
        }
        Ok(())
    }

    /// From now on the main process gets no more of it than it has. `None` where there is no main process.
    fn withhold(&self, upgrade: UpgradeId, resource: Resource) -> Result<Option<Bound>, RunError> {
        let began = self.clock.now();
        let (bound, limit, used, waiting) = match resource {
            Resource::Processes => {
                let Some(main) = &self.main else { return Ok(None) };
                let group = self.sandbox.own_task_group()?;
                tasks::admit(&group, main.pidfd.host_pid().map_err(failed)?)?;
                let limit = tasks::count(&group)?;
                tasks::bound(&group, Some(limit))?;
                let used = tasks::count(&group)?;
                (Bound::Tasks(group), limit, used, 0)
            }
            Resource::Descriptors => {
                let Some(main) = &self.main else { return Ok(None) };
                let mut open = Vec::new();
                let _compact = self.within(COMPACT, || {
                    open = self.descriptors_of(main.image.pid).unwrap_or_default();
                    yes(first_free(&open) >= open.len() as u64)
                })?;
                // Not below their number: poll(2) takes no more descriptors than this limit, and nobody is to fail for that.
                let limit = first_free(&open).max(open.len() as u64);
                let before = main.pidfd.limit_descriptors(limit).map_err(failed)?;
                let (filling, used) = self.fill_descriptors(main.image.pid, limit)?;
                let waiting = if filling.is_empty() { 0 } else { self.listeners()?.iter().map(|it| it.queued).sum() };
                (Bound::Descriptors { limit, before, _filling: filling }, limit, used, waiting)
            }
            Resource::Disk => {
                let Some(disk) = &self.disk else { return Ok(None) };
                let (limit, used) = disk.tmpfs.fill()?;
                (Bound::Disk, limit, used, 0)
            }
        };
        let what = What::Withheld(Withheld { upgrade, resource, limit, used, waiting });
        self.sink.put(Interval::new(began, self.clock.now()), what);
        Ok(Some(bound))
    }

    /// Who serves by himself has closed some meanwhile: opens connections until he has taken as many again, and some more, which wait
    /// for the next that he closes. With how many he has then.
    fn fill_descriptors(&self, main: Pid, limit: u64) -> Result<(Vec<HalfRequest>, u64), RunError> {
        let used = || -> Result<u64, RunError> {
            Ok(self.descriptors_of(main)?.iter().filter(|number| **number < limit).count() as u64)
        };
        let mut last = used()?;
        let missing = limit.saturating_sub(last);
        let mut filling = Vec::new();
        if missing > 0 {
            let (endpoint, patience) = (&self.plan.target.endpoints[0], self.plan.target.deadlines.request);
            let opened =
                (0..missing + MORE).map_while(|_| HalfRequest::open(self.clients_netns(), endpoint, patience).ok());
            filling.extend(opened);
            let _all = self.within(COMPACT, || {
                last = used().unwrap_or(last);
                yes(last >= limit)
            })?;
        }
        Ok((filling, last))
    }

    /// There is enough of it again.
    fn restore(&self, upgrade: UpgradeId, bound: &Bound) -> Result<(), RunError> {
        // Before the look: what is seen then was so until then.
        let began = self.clock.now();
        let (resource, refused) = match bound {
            Bound::Tasks(group) => {
                let refused = tasks::refused(group)?;
                tasks::bound(group, None)?;
                (Resource::Processes, Some(refused))
            }
            Bound::Descriptors { limit, before, .. } => {
                self.lift_descriptors(*limit, *before)?;
                (Resource::Descriptors, None)
            }
            Bound::Disk => {
                let Some(disk) = &self.disk else { return Ok(()) };
                let refused = disk.tmpfs.is_full()?;
                disk.tmpfs.widen()?;
                (Resource::Disk, Some(u64::from(refused)))
            }
        };
        let what = What::Restored(Restored { upgrade, resource, refused });
        self.sink.put(Interval::new(began, self.clock.now()), what);
        Ok(())
    }

    /// Lifts the limit of all that have it: whoever was begun meanwhile has inherited it.
    fn lift_descriptors(&self, limit: u64, before: u64) -> Result<(), RunError> {
        for stat in self.sandbox.procfs().scan()? {
            let pid = stat.image.pid;
            let text = self.sandbox.procfs().read(&format!("{pid}/limits"))?.unwrap_or_default();
            let has = limits(&String::from_utf8_lossy(&text)).get(OPEN_FILES).and_then(|it| it.soft);
            let Some(process) = self.identify(pid).filter(|_| has == Some(limit)) else { continue };
            match process.pidfd.limit_descriptors(before) {
                Ok(_) | Err(PidfdError::NoSuchProcess) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// The numbers of its open descriptors, ascending.
    fn descriptors_of(&self, pid: Pid) -> Result<Vec<u64>, RunError> {
        let open = self.sandbox.procfs().descriptors(pid)?;
        Ok(open.into_iter().filter_map(|it| u64::try_from(it.number).ok()).collect())
    }
}

/// The lowest number that is not among these, which ascend.
fn first_free(open: &[u64]) -> u64 {
    (0..).zip(open).find(|(number, open)| number != *open).map_or(open.len() as u64, |(number, _)| number)
}

fn failed(error: PidfdError) -> RunError {
    RunError::Environment(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::first_free;

    #[test]
    fn the_first_free_number_is_the_first_gap() {
        assert_eq!(first_free(&[0, 1, 2]), 3);
        assert_eq!(first_free(&[0, 1, 2, 5, 6]), 3);
        assert_eq!(first_free(&[1, 2]), 0);
        assert_eq!(first_free(&[]), 0);
    }
}
