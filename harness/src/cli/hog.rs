//! A processor hog: one busy thread per processor, so that nothing can rely on a quiet machine.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::failure::Failure;

/// Hogs every processor as long as it lives.
#[derive(Debug)]
pub(super) struct Hog {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hog {
    /// Begins.
    pub(super) fn start() -> Result<Hog, Failure> {
        let mut hog = Hog { enough: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            let enough = Arc::clone(&hog.enough);
            let spin = move || {
                while !enough.load(Ordering::Relaxed) {
                    spin_loop();
                }
            };
            let spawned = thread::Builder::new().name("hog".to_owned()).spawn(spin);
            hog.threads.push(spawned.map_err(|error| Failure::environment("start the processor hog", error))?);
        }
        Ok(hog)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It does nothing that could panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hog_ends_when_it_is_dropped() {
        drop(Hog::start().expect("threads can be started"));
    }
}
