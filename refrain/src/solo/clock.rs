//! What time a turn of a program that runs by itself has.

use std::time::{Duration, Instant};

use refrain_wire::Time;

/// Time as the program sees it: real time from where it starts, or one that moves only with its timers.
pub(super) struct Clock {
    start: Time,
    began: Instant,
    fast: bool,
    /// Where a fast clock stands.
    stands: Time,
}

impl Clock {
    pub(super) fn new(start: Time, fast: bool) -> Self {
        Self { start, began: Instant::now(), fast, stands: start }
    }

    /// The time of a turn that begins now.
    pub(super) fn now(&self) -> Time {
        if self.fast { self.stands } else { self.start.plus(self.began.elapsed()) }
    }

    /// How long to wait for what the program waits for, when it wants a turn at `wants`; without end where it waits
    /// for input alone. A fast clock waits for nothing but input, and jumps.
    pub(super) fn until(&mut self, wants: Option<Time>, input: bool) -> Option<Duration> {
        if !self.fast {
            return wants.map(|at| at.since(self.now()));
        }
        if input {
            return None;
        }
        wants.map(|at| {
            self.stands = self.stands.max(at);
            Duration::ZERO
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_jumps_to_the_timer_and_lets_input_come_first() {
        let start = Time::from_micros(1_000_000);
        let mut clock = Clock::new(start, true);
        let later = start.plus(Duration::from_secs(3600));
        assert_eq!(clock.until(Some(later), true), None);
        assert_eq!(clock.now(), start);
        assert_eq!(clock.until(Some(later), false), Some(Duration::ZERO));
        assert_eq!(clock.now(), later);
        assert_eq!(clock.until(None, false), None);
    }

    #[test]
    fn a_real_clock_starts_where_it_is_told_and_waits_for_the_rest() {
        let start = Time::from_micros(5_000_000);
        let mut clock = Clock::new(start, false);
        assert!(clock.now() >= start && clock.now() < start.plus(Duration::from_secs(60)));
        let left = clock.until(Some(start.plus(Duration::from_secs(120))), true).unwrap();
        assert!(left > Duration::from_secs(60) && left <= Duration::from_secs(120));
        assert_eq!(clock.until(Some(start), false), Some(Duration::ZERO));
    }
}
