//! How long a guest runs without a pause: counted in ticks by wasmtime's epoch call-back, read by whoever polls it.
//!
//! wasmtime yields a guest by leaving it pending with its waker woken, which looks like waiting from outside. The pulse
//! tells the two apart, and when a guest has had its share of the caller's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmtime::{Store, UpdateDeadline};

use crate::fault::CpuSpent;
use crate::ticker::Ticks;

/// Ticks that a guest may run on its caller's thread before it moves to the background.
const CALLER_TICKS: u64 = 2;
/// Ticks between two yields in the background.
const BACKGROUND_TICKS: u64 = 1;

pub(crate) struct Pulse {
    ticks: Ticks,
    /// When the turn under way began.
    turn_began: AtomicU64,
    /// Ticks after which the turn under way is interrupted.
    share: AtomicU64,
    /// Whether the last turn ended because its share was used up.
    interrupted: AtomicBool,
    /// Ticks of turns that were interrupted, since the last request that found the instance idle.
    spent: AtomicU64,
    /// The most that `spent` may be.
    limit: u64,
}

impl Pulse {
    /// `limit` is in ticks.
    pub(crate) fn new(ticks: Ticks, limit: Option<u64>) -> Self {
        Self {
            turn_began: AtomicU64::new(ticks.now()),
            ticks,
            share: AtomicU64::new(CALLER_TICKS),
            interrupted: AtomicBool::new(false),
            spent: AtomicU64::new(0),
            limit: limit.unwrap_or(u64::MAX),
        }
    }

    /// A turn begins on the caller's thread, or in the background.
    pub(crate) fn turn_begins(&self, background: bool) {
        self.turn_began.store(self.ticks.now(), Ordering::Relaxed);
        self.share.store(if background { BACKGROUND_TICKS } else { CALLER_TICKS }, Ordering::Relaxed);
        self.interrupted.store(false, Ordering::Relaxed);
    }

    /// Whether the turn that just ended used its share up: the guest would run on.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// A request begins in an idle instance.
    pub(crate) fn reset(&self) {
        self.spent.store(0, Ordering::Relaxed);
    }

    /// Has wasmtime ask this pulse at every tick.
    pub(crate) fn watch<T>(self: &Arc<Self>, store: &mut Store<T>) {
        let pulse = Arc::clone(self);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| pulse.tick());
    }

    fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        let ran = self.ticks.now().saturating_sub(self.turn_began.load(Ordering::Relaxed));
        if ran < self.share.load(Ordering::Relaxed) {
            return Ok(UpdateDeadline::Continue(1));
        }
        let spent = self.spent.fetch_add(ran, Ordering::Relaxed) + ran;
        if spent > self.limit {
            return Err(CpuSpent.into());
        }
        self.interrupted.store(true, Ordering::Relaxed);
        Ok(UpdateDeadline::Yield(1))
    }
}
