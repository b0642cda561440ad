//! Times of single requests, and what is said about many of them.

use std::time::Duration;

use serde::Serialize;

/// Times of single requests, in the order in which they were taken.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

/// What is said about many times. Percentiles are values that were measured (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many times went in.
    pub samples: usize,
    /// The 50th percentile.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// Adds one.
    pub fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// Adds those of another round.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Half of each: one way of what was timed both ways.
    pub fn halved(self) -> Self {
        Self(self.0.into_iter().map(|latency| latency / 2).collect())
    }

    /// `None` when nothing was measured.
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        Some(Summary {
            samples: sorted.len(),
            p50_ms: milliseconds(percentile(&sorted, 50)?),
            p99_ms: milliseconds(percentile(&sorted, 99)?),
            max_ms: milliseconds(*sorted.last()?),
        })
    }
}

/// The middle of some values, the upper one of two. `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The smallest value that at least `percent` in a hundred values do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_to(count: u64) -> Vec<Duration> {
        (1..=count).map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred = one_to(100);
        assert_eq!(percentile(&hundred, 50), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&hundred, 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&hundred, 100), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&one_to(101), 99), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&one_to(3), 50), Some(Duration::from_millis(2)));
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let summary = Latencies(one_to(1)).summary().unwrap();
        assert_eq!(summary, Summary { samples: 1, p50_ms: 1.0, p99_ms: 1.0, max_ms: 1.0 });
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        let mut backwards = one_to(100);
        backwards.reverse();
        assert_eq!(Latencies(backwards).summary(), Latencies(one_to(100)).summary());
    }

    #[test]
    fn nothing_measured_has_no_summary() {
        assert_eq!(Latencies::default().summary(), None);
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_median_is_a_middle_value() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(3.0));
    }
}
