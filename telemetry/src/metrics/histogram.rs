//! Histograms of atomics: an observation is two additions. The histogram of `prometheus-client` takes a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of the buckets of durations, in nanoseconds: six to a decade (the series E6), from 10 µs to 10 s.
const DURATION_BOUNDS: [u64; 37] = decades();

/// Upper bounds of the buckets of sizes: powers of four from 1 to 4 Mi.
const SIZE_BOUNDS: [u64; 12] = [1, 4, 16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];

const fn decades() -> [u64; 37] {
    const STEPS: [u64; 6] = [10, 15, 22, 33, 47, 68];
    let mut bounds = [0; 37];
    let (mut index, mut scale) = (0, 1_000);
    while index < bounds.len() {
        bounds[index] = STEPS[index % STEPS.len()] * scale;
        index += 1;
        if index % STEPS.len() == 0 {
            scale *= 10;
        }
    }
    bounds
}

#[derive(Debug)]
struct Buckets<const N: usize> {
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; N], above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Buckets<N> {
    #[inline]
    fn observe(&self, bounds: &[u64; N], value: u64) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.counts.get(bucket).unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// `unit` is how many of the values make one of what is exposed.
    fn encode(&self, bounds: &[u64; N], unit: f64, mut encoder: MetricEncoder) -> std::fmt::Result {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let sum = read(&self.sum) as f64 / unit;
        let finite = bounds.iter().zip(&self.counts).map(|(bound, count)| (*bound as f64 / unit, read(count)));
        let buckets: Vec<(f64, u64)> = finite.chain([(f64::INFINITY, read(&self.above))]).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

macro_rules! histogram {
    ($(#[$doc:meta])* $name:ident, $bounds:ident, $unit:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name(Arc<Buckets<{ $bounds.len() }>>);

        impl TypedMetric for $name {
            const TYPE: MetricType = MetricType::Histogram;
        }

        impl EncodeMetric for $name {
            fn encode(&self, encoder: MetricEncoder) -> std::fmt::Result {
                self.0.encode(&$bounds, $unit, encoder)
            }

            fn metric_type(&self) -> MetricType {
                Self::TYPE
            }
        }
    };
}

histogram!(
    /// How long something took, exposed in seconds.
    Durations,
    DURATION_BOUNDS,
    1e9
);
histogram!(
    /// How large something was.
    Sizes,
    SIZE_BOUNDS,
    1.0
);

impl Durations {
    /// Takes one in.
    #[inline]
    pub fn observe(&self, took: Duration) {
        self.0.observe(&DURATION_BOUNDS, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Sizes {
    /// Takes one in.
    #[inline]
    pub fn observe(&self, size: u64) {
        self.0.observe(&SIZE_BOUNDS, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_by_about_one_and_a_half_from_ten_microseconds_to_ten_seconds() {
        assert_eq!((DURATION_BOUNDS[0], DURATION_BOUNDS[36]), (10_000, 10_000_000_000));
        for pair in DURATION_BOUNDS.windows(2) {
            let ratio = pair[1] as f64 / pair[0] as f64;
            assert!((1.4..1.55).contains(&ratio), "{pair:?}");
        }
    }

    #[test]
    fn a_value_at_a_bound_is_in_its_bucket_and_one_above_is_in_the_next() {
        let sizes = Sizes::default();
        for value in [0, 1, 2, 4, 5, 4 << 20, (4 << 20) + 1] {
            sizes.observe(value);
        }
        let counts: Vec<u64> = sizes.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!((&counts[..3], counts[11], sizes.0.above.load(Ordering::Relaxed)), (&[2, 2, 1][..], 1, 1));
    }

    #[test]
    fn the_longest_duration_is_taken_in() {
        let durations = Durations::default();
        durations.observe(Duration::MAX);
        assert_eq!(durations.0.above.load(Ordering::Relaxed), 1);
    }
}
