//! The guest's clock: log time, moved on by a fixed step at each reading so that it never stands still in a turn.

use refrain_wire::Time;
use serde::{Deserialize, Serialize};

/// How far one reading moves the clock, in nanoseconds.
pub const READ_STEP_NS: u64 = 1_000;
/// Readings and polls that do not wait that a guest may make in one turn; then it waits for the next.
pub const READS_PER_TURN: u32 = 1_000_000;

/// What the guest's clocks show. Real time and monotonic time are the same number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    now_ns: u64,
    started_ns: u64,
    reads: u32,
}

impl Clock {
    /// Begins a turn at `time`: never behind what the guest has seen.
    pub fn begin_turn(&mut self, time: Time) {
        self.now_ns = self.now_ns.max(time.nanos());
        self.reads = 0;
    }

    /// Notes the start of the guest: CPU clocks count from here.
    pub fn start(&mut self) {
        self.started_ns = self.now_ns;
    }

    /// What the clock shows, without moving it.
    #[must_use]
    pub fn peek_ns(&self) -> u64 {
        self.now_ns
    }

    /// Nanoseconds since the guest was started: what CPU-time clocks answer.
    #[must_use]
    pub fn since_start_ns(&self) -> u64 {
        self.now_ns - self.started_ns
    }

    /// A guest's reading: moves the clock on. `None` when the turn's budget of readings is spent.
    #[inline]
    pub fn read_ns(&mut self) -> Option<u64> {
        self.spend()?;
        self.now_ns = self.now_ns.saturating_add(READ_STEP_NS);
        Some(self.now_ns)
    }

    /// Takes one from the turn's budget; `None` when it is spent.
    pub fn spend(&mut self) -> Option<()> {
        if self.reads >= READS_PER_TURN {
            return None;
        }
        self.reads += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_and_moves_at_each_reading() {
        let mut clock = Clock::default();
        clock.begin_turn(Time::from_micros(10));
        assert_eq!(clock.read_ns(), Some(11_000));
        assert_eq!(clock.read_ns(), Some(12_000));
        clock.begin_turn(Time::from_micros(11));
        assert_eq!(clock.peek_ns(), 12_000, "the guest has seen 12 already");
        clock.begin_turn(Time::from_micros(20));
        assert_eq!(clock.peek_ns(), 20_000);
    }

    #[test]
    fn the_budget_of_readings_holds_to_the_last_one() {
        let mut clock = Clock::default();
        clock.begin_turn(Time::from_micros(1));
        for _ in 0..READS_PER_TURN {
            assert!(clock.read_ns().is_some());
        }
        assert_eq!(clock.read_ns(), None);
        clock.begin_turn(Time::from_micros(1));
        assert!(clock.read_ns().is_some(), "the next turn has a fresh budget");
    }
}
