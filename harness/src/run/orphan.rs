//! What a target does with a process that is left to it, as pid 1 of its namespace.

use std::time::Duration;

use crate::clock::Interval;
use crate::event::What;
use crate::process::Stat;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::sandbox::{ORPHAN_NAME, Orphan};

/// How long a zombie is waited for: a server that looks for ended children once a second has done so by then.
const REAPED: Duration = Duration::from_millis(1500);

impl Stage<'_> {
    /// Leaves one to the main process, lets it end, and looks until it is gone.
    pub(super) fn orphan(&mut self) -> Result<(), RunError> {
        let Some(main) = self.main.as_ref().map(|main| main.image) else { return Ok(()) };
        let orphan = Orphan::leave(&self.sandbox, main.pid)?;
        let left = |it: &Stat| it.name == ORPHAN_NAME && it.ppid == main.pid;
        let Some(image) = self.sandbox.procfs().scan()?.into_iter().find(left).map(|it| it.image) else {
            return Err(RunError::Environment("failed to leave an orphan: the main process has none".to_owned()));
        };
        let began = self.clock.now();
        drop(orphan);
        let mut last = None;
        let reaped = self.within(REAPED, || {
            let Ok(stat) = self.sandbox.procfs().stat(image.pid) else { return yes(false) };
            last = stat.filter(|stat| stat.image.pid == image.pid && stat.image.start_ticks == image.start_ticks);
            yes(last.is_none())
        })?;
        if last.is_some_and(|stat| !stat.is_dead()) {
            return Err(RunError::Environment("failed to end an orphan".to_owned()));
        }
        self.sink.put(Interval::new(began, self.clock.now()), What::Orphaned { orphan: image, adopter: main, reaped });
        Ok(())
    }
}
