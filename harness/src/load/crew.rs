//! The tasks of the load thread: counted, so that their end can be awaited.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::{Notify, watch};

/// Spawns tasks and knows how many are not done.
#[derive(Debug, Clone, Default)]
pub(super) struct Crew(Rc<Roll>);

#[derive(Debug, Default)]
struct Roll {
    working: Cell<usize>,
    done: Notify,
}

/// Counts its task until dropped: also when the task panicked or was cancelled.
#[derive(Debug)]
struct Working(Rc<Roll>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.set(self.0.working.get() - 1);
        if self.0.working.get() == 0 {
            self.0.done.notify_one();
        }
    }
}

impl Crew {
    /// Spawns a task on the load thread.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.0.working.set(self.0.working.get() + 1);
        let working = Working(Rc::clone(&self.0));
        tokio::task::spawn_local(async move {
            let _working = working;
            work.await;
        });
    }

    /// Waits until no task is left. One waiter at a time.
    pub(super) async fn all_done(&self) {
        while self.0.working.get() > 0 {
            self.0.done.notified().await;
        }
    }
}

/// Waits until the schedule is asked to stop. A sender that is gone asks too.
pub(super) async fn asked(stop: &mut watch::Receiver<bool>) {
    let _gone = stop.wait_for(|stop| *stop).await;
}
