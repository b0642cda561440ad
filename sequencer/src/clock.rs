//! The time that the leader stamps into batches.
//!
//! It never goes back, goes on with the monotonic clock, and follows the wall clock while the two are within a
//! second of each other; so a wall clock that jumps moves nothing until a new leader takes office.

use std::time::Duration;

use refrain_wire::Time;

mod system;

pub use system::{Clock, SystemClock};

/// How far the wall clock may be from the leader's own time and still be followed.
pub const MAX_WALL_DISTANCE: Duration = Duration::from_secs(1);

/// The leader's time. Pure: readings of the clocks are passed in.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchClock {
    last: Time,
    base: Time,
    base_elapsed: Duration,
}

impl BatchClock {
    /// Takes office at `elapsed` of the monotonic clock, with the time `wall`.
    pub fn take_office(&mut self, elapsed: Duration, wall: Time) {
        self.base = self.last.max(wall);
        self.base_elapsed = elapsed;
    }

    /// Notes the time of an entry that was committed.
    pub fn note(&mut self, entry: Time) {
        self.last = self.last.max(entry);
    }

    /// The time for the next entry; never before that of an earlier one.
    pub fn now(&mut self, elapsed: Duration, wall: Time) -> Time {
        let steady = self.base.plus(elapsed.saturating_sub(self.base_elapsed));
        let near = wall.since(steady).max(steady.since(wall)) <= MAX_WALL_DISTANCE;
        let now = if near { wall } else { steady };
        self.base = now;
        self.base_elapsed = elapsed;
        self.last = self.last.max(now);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * SECOND)
    }

    fn elapsed(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn started() -> BatchClock {
        let mut clock = BatchClock::default();
        clock.take_office(elapsed(5), at(100));
        clock
    }

    #[test]
    fn it_follows_the_wall_clock_within_a_second_and_not_beyond() {
        let mut clock = started();
        assert_eq!(clock.now(elapsed(6), Time::from_micros(101 * SECOND + 900_000)).micros(), 101_900_000);
        let mut clock = started();
        assert_eq!(clock.now(elapsed(6), at(102)), at(102), "at the limit");
        let mut clock = started();
        assert_eq!(clock.now(elapsed(6), Time::from_micros(102 * SECOND + 1)), at(101), "one above");
    }

    #[test]
    fn a_wall_clock_that_jumps_changes_nothing() {
        let mut clock = started();
        assert_eq!(clock.now(elapsed(7), at(5000)), at(102));
        assert_eq!(clock.now(elapsed(8), at(3)), at(103));
        assert_eq!(clock.now(elapsed(9), at(104)), at(104));
    }

    #[test]
    fn it_never_goes_back() {
        let mut clock = started();
        assert_eq!(clock.now(elapsed(6), at(101)), at(101));
        assert_eq!(clock.now(elapsed(6), Time::from_micros(100 * SECOND + 500_000)), at(101));
        clock.note(at(300));
        assert_eq!(clock.now(elapsed(7), at(102)), at(300));
        clock.take_office(elapsed(7), at(102));
        assert_eq!(clock.now(elapsed(9), at(104)), at(302), "a new leader goes on from the last entry");
    }
}
