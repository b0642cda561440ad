//! How much a guest runs, without a pause and with pauses: looked at in ticks by wasmtime's epoch call-back, measured in
//! the processor time of the thread, read by whoever polls the guest.
//!
//! Ticks alone would not do: on a busy machine a thread may stand still for many of them, and a guest that is as quick as
//! any would pass for one that spins. wasmtime yields a guest by leaving it pending with its waker woken, which looks like
//! waiting from outside: the pulse tells the two apart.
//!
//! Most requests are over within a tick and cost no look at a clock. From the first tick that falls into a turn on, all
//! turns of the request are measured, so that a guest that pauses before each end of its share gains nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Store, UpdateDeadline};

use crate::fault::CpuSpent;
use crate::ticker::Ticks;

/// Processor time that a guest may use on its caller's thread after a first tick, before it moves to the background.
const SHARE: Duration = Duration::from_millis(1);
/// The least processor time of a turn that neighbours notice.
const LONG: Duration = Duration::from_micros(200);
/// Ticks in which long turns are added up.
const WINDOW_TICKS: u64 = 100;
/// Processor time of long turns in a window, beyond which a guest stays in the background until a window has less: a
/// tenth of a core.
const WINDOW_SHARE: Duration = Duration::from_millis(10);
/// Instead of a thread's processor time: it has not been looked at in this turn.
const UNKNOWN: u64 = u64::MAX;

pub(crate) struct Pulse {
    ticks: Ticks,
    /// The tick in which the turn under way began.
    turn_began: AtomicU64,
    /// The thread's processor time when it was last looked at in this turn, in nanoseconds.
    looked: AtomicU64,
    /// What was used in this turn before that.
    used: AtomicU64,
    /// Whether all turns are measured, since a tick fell into one.
    watched: AtomicBool,
    window: Window,
    /// Whether the turn under way is one of the background, where each tick is the end of one.
    background: AtomicBool,
    /// Whether the last turn ended because its share was used up.
    interrupted: AtomicBool,
    /// Nanoseconds that were measured since the last request that found the instance idle.
    spent: AtomicU64,
    /// The most that `spent` may be: what the requests in the instance brought with them.
    budget: AtomicU64,
    /// What each of them brings.
    limit: u64,
}

impl Pulse {
    pub(crate) fn new(ticks: Ticks, limit: Option<Duration>) -> Self {
        let limit = limit.map_or(u64::MAX, nanoseconds);
        Self {
            turn_began: AtomicU64::new(ticks.now()),
            ticks,
            looked: AtomicU64::new(UNKNOWN),
            used: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            window: Window::default(),
            background: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            spent: AtomicU64::new(0),
            budget: AtomicU64::new(limit),
            limit,
        }
    }

    /// A turn begins on the caller's thread, or in the background.
    pub(crate) fn turn_begins(&self, background: bool) {
        self.turn_began.store(self.ticks.now(), Ordering::Relaxed);
        let measured = background || self.watched.load(Ordering::Relaxed);
        self.looked.store(if measured { thread_time() } else { UNKNOWN }, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
        self.background.store(background, Ordering::Relaxed);
        self.interrupted.store(false, Ordering::Relaxed);
    }

    /// A turn ends, on the same thread.
    pub(crate) fn turn_ends(&self) {
        if self.looked.load(Ordering::Relaxed) != UNKNOWN {
            self.look();
            self.window.add(self.ticks.now(), self.used.load(Ordering::Relaxed));
        }
    }

    /// Whether the guest is one for the background: its last turn ended because its share was used up, so that it would
    /// run on, or its turns together are too much.
    pub(crate) fn is_long(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.window.is_heavy()
    }

    /// A request begins in an idle instance.
    pub(crate) fn reset(&self) {
        self.spent.store(0, Ordering::Relaxed);
        self.budget.store(self.limit, Ordering::Relaxed);
        self.watched.store(false, Ordering::Relaxed);
    }

    /// A request joins others, so that there are `active`. What those before it left over is not heaped up.
    pub(crate) fn join(&self, active: u32) {
        let most = self.spent.load(Ordering::Relaxed).saturating_add(self.limit.saturating_mul(u64::from(active)));
        let more = self.budget.load(Ordering::Relaxed).saturating_add(self.limit);
        self.budget.store(more.min(most), Ordering::Relaxed);
    }

    fn is_spent(&self, spent: u64) -> bool {
        spent > self.budget.load(Ordering::Relaxed)
    }

    /// Has wasmtime ask this pulse at every tick.
    pub(crate) fn watch<T>(self: &Arc<Self>, store: &mut Store<T>) {
        let pulse = Arc::clone(self);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| pulse.tick());
    }

    /// Adds up what was used since the last look. The sum of the request.
    fn look(&self) -> u64 {
        let now = thread_time();
        let used = now.saturating_sub(self.looked.swap(now, Ordering::Relaxed));
        self.used.fetch_add(used, Ordering::Relaxed);
        self.spent.fetch_add(used, Ordering::Relaxed) + used
    }

    fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.ticks.now() == self.turn_began.load(Ordering::Relaxed) {
            // The deadline was that of an earlier turn. What earlier turns used may be too much all the same.
            if self.is_spent(self.spent.load(Ordering::Relaxed)) {
                return Err(CpuSpent.into());
            }
            return Ok(UpdateDeadline::Continue(1));
        }
        self.watched.store(true, Ordering::Relaxed);
        if self.looked.load(Ordering::Relaxed) == UNKNOWN {
            self.looked.store(thread_time(), Ordering::Relaxed);
            return Ok(UpdateDeadline::Continue(1));
        }
        if self.is_spent(self.look()) {
            return Err(CpuSpent.into());
        }
        let used = self.used.load(Ordering::Relaxed);
        if !self.background.load(Ordering::Relaxed) && used < nanoseconds(SHARE) {
            return Ok(UpdateDeadline::Continue(1));
        }
        self.interrupted.store(true, Ordering::Relaxed);
        Ok(UpdateDeadline::Yield(1))
    }
}

/// What long turns used lately.
#[derive(Default)]
struct Window {
    /// The number of the window.
    now: AtomicU64,
    /// Nanoseconds of long turns in it.
    used: AtomicU64,
    heavy: AtomicBool,
}

impl Window {
    /// A turn was over at this tick.
    fn add(&self, tick: u64, used: u64) {
        let now = tick / WINDOW_TICKS;
        let before = self.now.swap(now, Ordering::Relaxed);
        if now != before {
            let last = self.used.swap(0, Ordering::Relaxed);
            self.heavy.store(now == before + 1 && last > nanoseconds(WINDOW_SHARE), Ordering::Relaxed);
        }
        if used >= nanoseconds(LONG) && self.used.fetch_add(used, Ordering::Relaxed) + used > nanoseconds(WINDOW_SHARE)
        {
            self.heavy.store(true, Ordering::Relaxed);
        }
    }

    fn is_heavy(&self) -> bool {
        self.heavy.load(Ordering::Relaxed)
    }
}

fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn each_request_brings_its_budget_and_leaves_none() {
        let limit = Duration::from_millis(10);
        let pulse = Pulse::new(Ticks::default(), Some(limit));
        let left = || pulse.budget.load(Ordering::Relaxed) - pulse.spent.load(Ordering::Relaxed);
        pulse.reset();
        pulse.spent.store(8 * MILLISECOND, Ordering::Relaxed);
        pulse.join(2);
        assert_eq!(left(), 12 * MILLISECOND);
        for _ in 0..1000 {
            pulse.join(2);
            assert_eq!(left(), 20 * MILLISECOND);
        }
        assert!(pulse.is_spent(28 * MILLISECOND + 1) && !pulse.is_spent(28 * MILLISECOND));
        pulse.reset();
        assert_eq!(left(), 10 * MILLISECOND);
        let unlimited = Pulse::new(Ticks::default(), None);
        unlimited.join(7);
        assert!(!unlimited.is_spent(u64::MAX));
    }

    #[test]
    fn long_turns_are_heavy_beyond_their_share_of_a_window() {
        let window = Window::default();
        (0..10).for_each(|tick| window.add(tick, MILLISECOND));
        assert!(!window.is_heavy());
        window.add(99, MILLISECOND);
        assert!(window.is_heavy());
    }

    #[test]
    fn short_turns_are_never_heavy() {
        let window = Window::default();
        (0..10_000).for_each(|turn| window.add(turn / 1000, nanoseconds(LONG) - 1));
        assert!(!window.is_heavy());
    }

    #[test]
    fn what_was_heavy_is_so_until_a_window_with_less_is_over() {
        let window = Window::default();
        window.add(0, 11 * MILLISECOND);
        window.add(100, MILLISECOND);
        assert!(window.is_heavy());
        window.add(200, MILLISECOND);
        assert!(!window.is_heavy());
        window.add(300, 11 * MILLISECOND);
        window.add(500, 0);
        assert!(!window.is_heavy());
    }
}
