//! An upgrade while the path between the target and its clients has a fault.

use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Interval;
use crate::event::{PathCleared, PathDisturbed, PathFault, What};
use crate::id::UpgradeId;
use crate::run::{RunError, Stage};
use crate::sandbox::{ClientsError, Disturbance};

/// A fault that ends by itself when its time has come, or when the run is to be interrupted. Dropping it waits for that.
struct Meanwhile {
    ends: Option<JoinHandle<Result<(), ClientsError>>>,
}

impl Stage<'_> {
    /// One upgrade with a fault of the path from right before its trigger on, for so long. The step lasts as long as the fault.
    pub(super) fn upgrade_across(&mut self, fault: PathFault, lasts: Duration) -> Result<(), RunError> {
        let mut meanwhile = None;
        self.upgrade_when(|stage, upgrade| {
            meanwhile = stage.disturb(upgrade, fault, lasts)?;
            Ok(())
        })?;
        meanwhile.map_or(Ok(()), Meanwhile::over)
    }

    /// `None` where its clients are on no other side; that is no plan.
    fn disturb(&self, upgrade: UpgradeId, fault: PathFault, lasts: Duration) -> Result<Option<Meanwhile>, RunError> {
        let Some(clients) = &self.clients else { return Ok(None) };
        let began = self.clock.now();
        let disturbance = clients.disturb(fault, self.plan.target.endpoints[0].address.port())?;
        let what = What::PathDisturbed(PathDisturbed { upgrade, fault });
        self.sink.put(Interval::new(began, self.clock.now()), what);
        let (clock, sink, stop) = (self.clock, self.sink.clone(), self.stop.clone());
        let end = move |mut disturbance: Disturbance| {
            // An interrupted run ends with its sandbox; this one ends before.
            let _asked = stop.pause(lasts);
            let began = clock.now();
            let met = disturbance.end()?;
            let what = What::PathCleared(PathCleared { upgrade, met });
            sink.put(Interval::new(began, clock.now()), what);
            disturbance.remove()
        };
        let thread = std::thread::Builder::new().name("path".to_owned()).spawn(move || end(disturbance))?;
        Ok(Some(Meanwhile { ends: Some(thread) }))
    }
}

impl Meanwhile {
    /// Waits until it is.
    fn over(mut self) -> Result<(), RunError> {
        let ended = self.ends.take().map(JoinHandle::join);
        Ok(ended.map_or(Ok(()), |it| it.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?)
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        // Only where the upgrade could not be made: that is what is told.
        let _told = self.ends.take().map(JoinHandle::join);
    }
}
