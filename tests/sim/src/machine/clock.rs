//! The clocks of a machine: one time for the whole run, and how far each machine's wall clock is off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use refrain_sequencer::clock::Clock;
use refrain_wire::Time;

/// When every run begins, in microseconds since 1970.
const EPOCH_MICROS: u64 = 1_700_000_000_000_000;

/// The time of a run; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimTime(Arc<AtomicU64>);

impl SimTime {
    /// Sets the time since the run began.
    pub fn set(&self, now: Duration) {
        self.0.store(now.as_micros() as u64, Ordering::Relaxed);
    }

    /// Microseconds since the run began.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The clocks of one machine; clones share them.
#[derive(Debug, Clone)]
pub struct NodeClock {
    time: SimTime,
    wall_offset_micros: Arc<AtomicI64>,
}

impl NodeClock {
    /// Clocks that are right.
    #[must_use]
    pub fn new(time: SimTime) -> Self {
        Self { time, wall_offset_micros: Arc::default() }
    }

    /// The wall clock is off by this much from now on.
    pub fn set_wall_offset(&self, micros: i64) {
        self.wall_offset_micros.store(micros, Ordering::Relaxed);
    }
}

impl Clock for NodeClock {
    fn wall(&self) -> Time {
        let offset = self.wall_offset_micros.load(Ordering::Relaxed);
        Time::from_micros((EPOCH_MICROS + self.time.micros()).saturating_add_signed(offset))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.time.micros())
    }
}
