//! The exec seam: who runs the writes of a log.
//!
//! A log has one queue of writes and one worker that drains it: everything queued when the worker comes around is
//! one write and one sync. In production the worker is a thread of its own ([`FlushThread`]); in simulations and
//! crash tests it runs inside the call that queued the write ([`FlushInline`]), so that one seed gives one run.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

/// Runs a worker that is to be run again after every wake.
pub trait Exec: Send + Sync {
    /// Takes the worker over. `worker` returns when it finds nothing to do.
    fn start(&self, name: &str, worker: Box<dyn FnMut() + Send>) -> io::Result<Arc<dyn Wake>>;
}

/// Wakes a worker.
pub trait Wake: Send + Sync {
    /// The worker runs at least once more, from its start, after this call began.
    fn wake(&self);
    /// Ends the worker after it has run once more; returns when it has ended. Later wakes do nothing.
    fn stop(&self);
}

/// A thread of its own for each worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlushThread;

#[derive(Default)]
struct Signal {
    woken: bool,
    stopping: bool,
}

#[derive(Default)]
struct ThreadWake {
    signal: Mutex<Signal>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ThreadWake {
    /// Waits for a wake; false when the worker is to end after this run.
    fn wait(&self) -> bool {
        let mut signal = self.signal.lock();
        while !signal.woken && !signal.stopping {
            self.changed.wait(&mut signal);
        }
        signal.woken = false;
        !signal.stopping
    }
}

impl Exec for FlushThread {
    fn start(&self, name: &str, mut worker: Box<dyn FnMut() + Send>) -> io::Result<Arc<dyn Wake>> {
        let wake = Arc::new(ThreadWake::default());
        let waiter = wake.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while waiter.wait() {
                worker();
            }
            worker();
        })?;
        *wake.thread.lock() = Some(thread);
        Ok(wake)
    }
}

impl Wake for ThreadWake {
    fn wake(&self) {
        self.signal.lock().woken = true;
        self.changed.notify_one();
    }

    fn stop(&self) {
        self.signal.lock().stopping = true;
        self.changed.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // A panic of the worker was printed by its thread; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// Runs the worker inside `wake`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlushInline;

struct InlineWake {
    worker: Mutex<Option<Box<dyn FnMut() + Send>>>,
    again: Mutex<bool>,
}

impl Exec for FlushInline {
    fn start(&self, _name: &str, worker: Box<dyn FnMut() + Send>) -> io::Result<Arc<dyn Wake>> {
        Ok(Arc::new(InlineWake { worker: Mutex::new(Some(worker)), again: Mutex::new(false) }))
    }
}

impl Wake for InlineWake {
    fn wake(&self) {
        *self.again.lock() = true;
        // When the worker is running, this is a wake from one of its callbacks, and the run below sees it.
        let Some(mut worker) = self.worker.try_lock() else { return };
        while std::mem::take(&mut *self.again.lock()) {
            if let Some(worker) = worker.as_mut() {
                worker();
            }
        }
    }

    fn stop(&self) {
        self.wake();
        if let Some(mut worker) = self.worker.try_lock() {
            *worker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn runs(exec: &dyn Exec) -> u32 {
        let runs = Arc::new(AtomicU32::new(0));
        let count = runs.clone();
        let wake = exec
            .start(
                "test",
                Box::new(move || {
                    count.fetch_add(1, Ordering::SeqCst);
                }),
            )
            .unwrap();
        wake.wake();
        wake.stop();
        wake.stop();
        let before = runs.load(Ordering::SeqCst);
        wake.wake();
        assert_eq!(runs.load(Ordering::SeqCst), before, "a stopped worker does not run");
        before
    }

    #[test]
    fn a_worker_runs_after_a_wake_and_not_after_its_end() {
        assert!(runs(&FlushThread) >= 1);
        assert!(runs(&FlushInline) >= 1);
    }
}
