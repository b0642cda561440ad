//! Hashing and storing what replicas captured: one after another, at nice 19, away from the engine's workers.
//!
//! At most one capture of a replica waits here; a newer one takes its place. One that cannot be stored is dropped, with
//! a word in the log, and nothing else comes of it: another will be ordered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::life::Life;
use super::{Report, ReportSink};
use crate::checkpoint::{Captured, CheckpointStore};
use crate::replica::{ReplicaId, TurnOutcome};

const NICE: i32 = 19;

struct Waiting {
    id: ReplicaId,
    life: Life,
    captured: Arc<Captured>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    stop: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    store: Arc<CheckpointStore>,
    sink: ReportSink,
}

/// The lane of one engine; without a store, captures are dropped at once.
pub(crate) struct Checkpoints {
    shared: Option<Arc<Shared>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpoints {
    pub(crate) fn start(store: Option<Arc<CheckpointStore>>, sink: &ReportSink) -> Arc<Self> {
        let lane = Self::without_thread(store, sink);
        let thread = lane.shared.clone().map(|shared| {
            std::thread::Builder::new()
                .name("checkpoint".into())
                .spawn(move || shared.run())
                .expect("a thread can be started at start-up")
        });
        *lane.thread.lock() = thread;
        lane
    }

    /// A lane whose captures are stored by [`Checkpoints::store_next`].
    pub(crate) fn without_thread(store: Option<Arc<CheckpointStore>>, sink: &ReportSink) -> Arc<Self> {
        let shared = store.map(|store| {
            let (queue, filled) = (Mutex::default(), Condvar::new());
            Arc::new(Shared { queue, filled, store, sink: Arc::clone(sink) })
        });
        Arc::new(Self { shared, thread: Mutex::default() })
    }

    /// Stores the next capture on this thread; false when there is none.
    pub(crate) fn store_next(&self) -> bool {
        let Some(shared) = &self.shared else { return false };
        let next = shared.queue.lock().waiting.pop_front();
        next.map(|waiting| shared.store(&waiting)).is_some()
    }

    /// Takes what the turn captured, if it did.
    pub(crate) fn take(&self, id: ReplicaId, life: &Life, outcome: &TurnOutcome) {
        let (Some(shared), Some(captured)) = (&self.shared, &outcome.captured) else { return };
        let mut queue = shared.queue.lock();
        queue.waiting.retain(|waiting| waiting.id != id);
        queue.waiting.push_back(Waiting { id, life: life.clone(), captured: Arc::clone(captured) });
        drop(queue);
        shared.filled.notify_one();
    }

    pub(crate) fn stop(&self) {
        if let Some(shared) = &self.shared {
            shared.queue.lock().stop = true;
            shared.filled.notify_all();
        }
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::warn!(%error, "checkpoints are stored at normal priority");
        }
        while let Some(waiting) = self.next() {
            self.store(&waiting);
        }
    }

    fn store(&self, Waiting { id, life, captured }: &Waiting) {
        if life.ended() {
            return;
        }
        let began = Instant::now();
        match self.store.save(captured) {
            Ok(manifest) => {
                let (position, root, took) = (captured.position(), manifest.root(), began.elapsed());
                life.report(&self.sink, Report::Rooted { id: *id, position, root, took });
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%id, position = %captured.position(), error, "checkpoint dropped");
            }
        }
    }

    fn next(&self) -> Option<Waiting> {
        let mut queue = self.queue.lock();
        loop {
            if queue.stop {
                return None;
            }
            if let Some(waiting) = queue.waiting.pop_front() {
                return Some(waiting);
            }
            self.filled.wait(&mut queue);
        }
    }
}
