//! How long a guest runs without a pause: looked at in ticks by wasmtime's epoch call-back, measured in the processor time
//! of the thread, read by whoever polls the guest.
//!
//! Ticks alone would not do: on a busy machine a thread may stand still for many of them, and a guest that is as quick as
//! any would pass for one that spins. wasmtime yields a guest by leaving it pending with its waker woken, which looks like
//! waiting from outside: the pulse tells the two apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Store, UpdateDeadline};

use crate::fault::CpuSpent;
use crate::ticker::Ticks;

/// Processor time that a guest may use on its caller's thread after a first tick, before it moves to the background.
const SHARE: Duration = Duration::from_millis(1);
/// Instead of a thread's processor time: it has not been looked at in this turn.
const UNKNOWN: u64 = u64::MAX;

pub(crate) struct Pulse {
    ticks: Ticks,
    /// The tick in which the turn under way began.
    turn_began: AtomicU64,
    /// The thread's processor time when it was first looked at in this turn, in nanoseconds.
    looked: AtomicU64,
    /// Whether the turn under way is one of the background, where each tick is the end of one.
    background: AtomicBool,
    /// Whether the last turn ended because its share was used up.
    interrupted: AtomicBool,
    /// Nanoseconds of turns that were interrupted, since the last request that found the instance idle.
    spent: AtomicU64,
    /// The most that `spent` may be.
    limit: u64,
}

impl Pulse {
    pub(crate) fn new(ticks: Ticks, limit: Option<Duration>) -> Self {
        Self {
            turn_began: AtomicU64::new(ticks.now()),
            ticks,
            looked: AtomicU64::new(UNKNOWN),
            background: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            spent: AtomicU64::new(0),
            limit: limit.map_or(u64::MAX, nanoseconds),
        }
    }

    /// A turn begins on the caller's thread, or in the background.
    pub(crate) fn turn_begins(&self, background: bool) {
        self.turn_began.store(self.ticks.now(), Ordering::Relaxed);
        // Most turns end within a tick, and cost no look at the clock.
        self.looked.store(if background { thread_time() } else { UNKNOWN }, Ordering::Relaxed);
        self.background.store(background, Ordering::Relaxed);
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
        if self.ticks.now() == self.turn_began.load(Ordering::Relaxed) {
            // The deadline was that of an earlier turn.
            return Ok(UpdateDeadline::Continue(1));
        }
        let (now, looked) = (thread_time(), self.looked.load(Ordering::Relaxed));
        if looked == UNKNOWN {
            self.looked.store(now, Ordering::Relaxed);
            return Ok(UpdateDeadline::Continue(1));
        }
        let used = now.saturating_sub(looked);
        if !self.background.load(Ordering::Relaxed) && used < nanoseconds(SHARE) {
            return Ok(UpdateDeadline::Continue(1));
        }
        let spent = self.spent.fetch_add(used, Ordering::Relaxed) + used;
        if spent > self.limit {
            return Err(CpuSpent.into());
        }
        self.interrupted.store(true, Ordering::Relaxed);
        Ok(UpdateDeadline::Yield(1))
    }
}

fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
