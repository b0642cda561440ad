//! Which batches are traced: decided by the id alone, so that all nodes decide alike.

use crate::config::Ratio;

/// Samples a share of all trace ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    /// Ids whose low half, shifted right by one, is below this are traced.
    bound: u64,
}

impl Sampler {
    pub(crate) fn new(ratio: Ratio) -> Self {
        // The rule of OpenTelemetry's `TraceIdRatioBased`; a ratio of 1 is above every shifted half.
        Self { bound: (ratio.get() * (1u64 << 63) as f64) as u64 }
    }

    #[inline]
    pub(crate) fn takes(self, low: u64) -> bool {
        low >> 1 < self.bound
    }

    pub(crate) fn is_off(self) -> bool {
        self.bound == 0
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanKind;
    use opentelemetry_sdk::trace::{Sampler as Standard, SamplingDecision, ShouldSample as _};
    use refrain_wire::{ClusterId, GroupId, Position};

    use super::*;
    use crate::trace::TraceIds;

    fn ratio(share: f64) -> Ratio {
        Ratio::new(share).expect("between 0 and 1")
    }

    #[test]
    fn the_decision_is_that_of_opentelemetry_for_the_same_id() {
        let ids = TraceIds::new(ClusterId([9; 16]));
        for share in [0.0, 0.01, 0.3, 1.0] {
            let (ours, standard) = (Sampler::new(ratio(share)), Standard::TraceIdRatioBased(share));
            for position in 1..2_000 {
                let trace = ids.trace(GroupId(3), Position(position));
                let id = opentelemetry::TraceId::from_bytes(trace.0);
                let decision = standard.should_sample(None, id, "batch", &SpanKind::Internal, &[], &[]).decision;
                let takes = ours.takes(ids.low(GroupId(3), Position(position)));
                assert_eq!(takes, ours.takes(trace.low()));
                assert_eq!(takes, decision == SamplingDecision::RecordAndSample, "{share} {trace}");
            }
        }
    }

    #[test]
    fn the_share_of_neighbouring_positions_and_groups_is_the_ratio() {
        let ids = TraceIds::new(ClusterId([9; 16]));
        for (groups, positions) in [(1, 200_000), (200, 1_000)] {
            let sampler = Sampler::new(ratio(0.01));
            let taken = (0..groups)
                .flat_map(|group| (1..=positions).map(move |position| (group, position)))
                .filter(|(group, position)| sampler.takes(ids.low(GroupId(*group), Position(*position))))
                .count();
            // The standard deviation is 44.
            assert!((1_780..2_220).contains(&taken), "{taken} of 200,000 at 1 %");
        }
    }

    #[test]
    fn the_ends_of_the_ratio_take_nothing_and_everything() {
        for low in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(!Sampler::new(ratio(0.0)).takes(low));
            assert!(Sampler::new(ratio(1.0)).takes(low));
        }
    }
}
