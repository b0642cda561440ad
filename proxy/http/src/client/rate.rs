//! The generic cell rate algorithm: a token bucket in one number. Pure.

use std::time::Duration;

use crate::plan::Rate;

/// The new moment at which a full burst is allowed again, or how long to wait for one request. All in nanoseconds.
pub(super) fn next(full_at: u64, now: u64, rate: Rate) -> Result<u64, Duration> {
    let step = 1_000_000_000 / u64::from(rate.per_second.max(1));
    let next = full_at.max(now) + step;
    let horizon = now + step * u64::from(rate.burst.max(1));
    if next <= horizon { Ok(next) } else { Err(Duration::from_nanos(next - horizon)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_one_at_a_time() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut full_at = 0;
        for _ in 0..3 {
            full_at = next(full_at, 0, rate).unwrap();
        }
        assert_eq!(next(full_at, 0, rate), Err(Duration::from_millis(100)));
        assert_eq!(next(full_at, 60_000_000, rate), Err(Duration::from_millis(40)));
        let full_at = next(full_at, 100_000_000, rate).unwrap();
        assert!(next(full_at, 100_000_000, rate).is_err());
        assert!(next(full_at, 10_000_000_000, rate).is_ok());
    }
}
