//! A worker and its background that run when they are called, on the caller's thread.

use parking_lot::Mutex;

use super::background::Background;
use super::checkpoints::Checkpoints;
use super::inbox::Inbox;
use super::worker::Worker;

pub(crate) struct Inline {
    worker: Mutex<Worker>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Inline {
    pub(crate) fn new(worker: Worker, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { worker: Mutex::new(worker), wake }
    }

    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    /// Turns of replicas that follow come first, then one slice of one that catches up, then one capture, and so on
    /// until nothing is left.
    pub(crate) fn work(&self, inbox: &Inbox, background: &Background, checkpoints: &Checkpoints) {
        let mut worker = self.worker.lock();
        loop {
            while !inbox.is_empty() || !worker.is_idle() {
                worker.round(false);
            }
            if !background.run_next() && !checkpoints.store_next() {
                return;
            }
        }
    }
}
