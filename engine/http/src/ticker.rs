//! The epoch ticker: one tick a millisecond while guests run, none while the host is idle.
//!
//! A tick raises the epoch of every engine, and counts: a guest whose turn ends in the tick in which it began is never
//! asked about, so that most turns cost no look at a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::platform::Platforms;

/// Time between two ticks.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without a turn after which the ticker parks: waking it for every turn of a busy host would cost more.
const LINGER_TICKS: u32 = 100;

#[derive(Default)]
struct Shared {
    /// Ticks so far.
    now: AtomicU64,
    /// Rises at the start of every turn.
    turns: AtomicU64,
    /// Turns that are under way.
    running: AtomicU64,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// Reads the number of ticks.
#[derive(Clone, Default)]
pub(crate) struct Ticks(Arc<Shared>);

impl Ticks {
    pub(crate) fn now(&self) -> u64 {
        self.0.now.load(Ordering::Relaxed)
    }
}

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(platforms: Arc<Platforms>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let run = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("http-epoch".into()).spawn(move || tick(&platforms, &run))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn ticks(&self) -> Ticks {
        Ticks(Arc::clone(&self.shared))
    }

    /// A turn begins: the ticker runs at least as long as the guard lives.
    pub(crate) fn turn_begins(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        self.shared.turns.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.unpark();
        }
        Running { shared: &self.shared }
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

/// A turn that is under way.
pub(crate) struct Running<'a> {
    shared: &'a Shared,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.unpark();
        // The last owner may be a thread of the host's own, but never this one: it owns no host.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tick(platforms: &Platforms, shared: &Shared) {
    let (mut seen, mut idle) = (0, 0);
    while !shared.stop.load(Ordering::SeqCst) {
        std::thread::park_timeout(TICK);
        shared.now.fetch_add(1, Ordering::Relaxed);
        platforms.increment_epochs();
        let turns = shared.turns.load(Ordering::SeqCst);
        let busy = turns != seen || shared.running.load(Ordering::SeqCst) > 0;
        idle = if busy { 0 } else { idle + 1 };
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
