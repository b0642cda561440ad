//! Outlier ejection of one upstream of one release: after so many failures in a row it is left alone for a while. Pure.
//!
//! Failures are those of reaching it: no connection, a connection that breaks off, a refusal. An answer of the
//! application is a success whatever its status, and what other releases see does not count.

use std::time::{Duration, Instant};

/// Failures in a row that eject.
pub(crate) const FAILURES: u32 = 5;
/// The first time out; it doubles with each that follows without a success, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Default, Clone)]
pub(crate) struct Ejection {
    failures: u32,
    times: u32,
    until: Option<Instant>,
}

impl Ejection {
    pub(crate) fn is_out(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes a failure; says whether it ejected.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        // Requests that were under way when it was ejected tell nothing new; one that was tried afterwards does.
        let is_back = self.times > 0 && !self.is_out(now);
        if self.is_out(now) || (self.failures < FAILURES && !is_back) {
            return false;
        }
        let time = SHORTEST.saturating_mul(1 << self.times.min(6)).min(LONGEST);
        self.times = self.times.saturating_add(1);
        self.until = Some(now + time);
        true
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_failure_in_a_row_ejects_and_a_success_starts_anew() {
        let now = Instant::now();
        let mut ejection = Ejection::default();
        (0..4).for_each(|_| assert!(!ejection.failed(now)));
        ejection.succeeded();
        (0..4).for_each(|_| assert!(!ejection.failed(now)));
        assert!(!ejection.is_out(now));
        assert!(ejection.failed(now));
        assert!(ejection.is_out(now));
        assert!(!ejection.is_out(now + SHORTEST));
    }

    #[test]
    fn each_time_out_is_twice_as_long_up_to_a_minute() {
        let mut now = Instant::now();
        let mut ejection = Ejection { failures: 4, ..Ejection::default() };
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(ejection.failed(now));
            assert!(!ejection.failed(now), "those under way tell nothing new");
            let time = Duration::from_secs(seconds);
            assert!(ejection.is_out(now + time - Duration::from_millis(1)));
            now += time;
            assert!(!ejection.is_out(now));
        }
    }
}
