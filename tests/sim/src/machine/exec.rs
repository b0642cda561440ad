//! The flush worker of a simulated machine: it takes as long as the disk is said to take, and runs on the host's loop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use refrain_sequencer::flush::{Exec, Wake};
use tokio::runtime::Handle;

use crate::dice::Dice;

/// How long a flush takes, in milliseconds; clones share it.
#[derive(Clone)]
pub struct Pace(Arc<Mutex<(u64, u64, Dice)>>);

impl Pace {
    /// A disk that takes no time.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        Self(Arc::new(Mutex::new((0, 0, dice))))
    }

    /// Flushes take between `least` and `most` milliseconds from now on.
    pub fn set(&self, least: u64, most: u64) {
        let mut pace = self.0.lock();
        (pace.0, pace.1) = (least, most);
    }

    /// How long the next one takes.
    #[must_use]
    pub fn next(&self) -> Duration {
        let (least, most, dice) = &mut *self.0.lock();
        dice.millis(*least, *most)
    }
}

/// Runs the flush worker after the time that the disk takes.
pub struct PacedFlush {
    pace: Pace,
}

impl PacedFlush {
    /// A worker with this pace.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace }
    }
}

type Worker = Box<dyn FnMut() + Send>;

struct PacedWake {
    worker: Arc<Mutex<Option<Worker>>>,
    /// A wake that the worker has not seen.
    woken: Mutex<bool>,
    /// A run is on its way.
    waiting: Mutex<bool>,
    pace: Pace,
    runtime: Handle,
    this: std::sync::Weak<Self>,
}

impl Exec for PacedFlush {
    fn start(&self, _name: &str, worker: Worker) -> io::Result<Arc<dyn Wake>> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        Ok(Arc::new_cyclic(|this| PacedWake {
            worker: Arc::new(Mutex::new(Some(worker))),
            woken: Mutex::default(),
            waiting: Mutex::default(),
            pace: self.pace.clone(),
            runtime,
            this: this.clone(),
        }))
    }
}

impl PacedWake {
    /// Runs the worker until it has seen every wake.
    fn run(&self) {
        // When the worker is running, this is a wake from one of its callbacks, and the run below sees it.
        let Some(mut worker) = self.worker.try_lock() else { return };
        while std::mem::take(&mut *self.woken.lock()) {
            if let Some(worker) = worker.as_mut() {
                worker();
            }
        }
    }

    async fn run_later(self: Arc<Self>, after: Duration) {
        tokio::time::sleep(after).await;
        *self.waiting.lock() = false;
        self.run();
    }
}

impl Wake for PacedWake {
    fn wake(&self) {
        *self.woken.lock() = true;
        if *self.waiting.lock() {
            return;
        }
        let after = self.pace.next();
        match self.this.upgrade() {
            Some(this) if !after.is_zero() => {
                *self.waiting.lock() = true;
                self.runtime.spawn(this.run_later(after));
            }
            _ => self.run(),
        }
    }

    fn stop(&self) {
        *self.woken.lock() = true;
        self.run();
        if let Some(mut worker) = self.worker.try_lock() {
            *worker = None;
        }
    }
}
