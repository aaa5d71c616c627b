//! What a draining generation does while nobody asks it for anything.

use std::time::Duration;

use crate::clock::Interval;
use crate::event::{DrainWatched, Microseconds, ProcessorTime, What};
use crate::id::Image;
use crate::run::{RunError, Stage};

impl Stage<'_> {
    /// Measures the processor time of the generation before the last upgrade, for so long.
    pub(super) fn watch_drain(&self, time: Duration) -> Result<(), RunError> {
        let Some(before) = &self.last_upgrade else { return Ok(()) };
        let keeper = self.main.as_ref().map(|main| main.image);
        let old = before.holders.iter().copied().filter(|image| Some(*image) != keeper);
        let began = self.clock.now();
        let first: Vec<(Image, Option<Microseconds>)> =
            old.map(|image| Ok((image, self.processor_time(image)?))).collect::<Result<_, RunError>>()?;
        if self.stop.pause(time) {
            return Err(RunError::Interrupted);
        }
        let mut processes = Vec::new();
        for (image, first) in first {
            let used = first.zip(self.processor_time(image)?).map(|(first, last)| Microseconds {
                ran: last.ran.saturating_sub(first.ran),
                waited: last.waited.saturating_sub(first.waited),
            });
            processes.push(ProcessorTime { image, used });
        }
        let what = What::DrainWatched(DrainWatched { upgrade: before.id, processes });
        self.sink.put(Interval::new(began, self.clock.now()), what);
        Ok(())
    }

    /// Of this very image, if it lives.
    fn processor_time(&self, image: Image) -> Result<Option<Microseconds>, RunError> {
        let times = self.sandbox.procfs().processor_time(image.pid)?;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let times = times.map(|(ran, waited)| Microseconds { ran: micros(ran), waited: micros(waited) });
        Ok(times.filter(|_| self.lives(image)))
    }
}
