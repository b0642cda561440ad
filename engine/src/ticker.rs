//! The epoch ticker: one tick a millisecond while turns run, none while the engine is idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

const TICK: Duration = Duration::from_millis(1);
/// Ticks without a turn after which the ticker parks: waking it for every turn of a busy engine would cost more.
const LINGER_TICKS: u32 = 100;

#[derive(Default)]
struct Shared {
    /// Rises at the start of every turn.
    turns: AtomicU64,
    parked: AtomicBool,
    stop: AtomicBool,
}

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> Self {
        let shared = Arc::new(Shared::default());
        let run = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("epoch".into())
            .spawn(move || tick(&engine, &run))
            .expect("a thread can be started at start-up");
        Self { shared, thread: Some(thread) }
    }

    /// A turn begins, or goes on after a yield: the ticker must run.
    pub(crate) fn turn_begins(&self) {
        self.shared.turns.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let (mut seen, mut idle) = (0, 0);
    while !shared.stop.load(Ordering::SeqCst) {
        std::thread::park_timeout(TICK);
        engine.increment_epoch();
        let turns = shared.turns.load(Ordering::SeqCst);
        idle = if turns == seen { idle + 1 } else { 0 };
        seen = turns;
        if idle >= LINGER_TICKS {
            shared.parked.store(true, Ordering::SeqCst);
            while shared.turns.load(Ordering::SeqCst) == seen && !shared.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            shared.parked.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}
