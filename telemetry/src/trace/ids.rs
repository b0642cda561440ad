//! Ids that every node computes alike: of a trace from cluster, group and position, of a span from its trace.
//!
//! The low half of a trace id is a keyed mix that costs a few nanoseconds; sampling looks at it alone, by the rule of
//! OpenTelemetry's `TraceIdRatioBased`, so a collector that samples by the same ratio keeps the same traces. Two
//! positions of one group never share it. The high half is BLAKE3 and is computed only for traces that are recorded.

use std::fmt;

use refrain_wire::{ClusterId, GroupId, Position};

use super::span::Stage;

/// The id of a trace: one batch. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// The id of a span. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

macro_rules! hex {
    ($($name:ident),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )* };
}

hex!(TraceId, SpanId);

impl TraceId {
    /// The id that is written as 32 hexadecimal digits, if `text` is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = u128::from_str_radix(text, 16).ok().filter(|id| digits && *id != 0)?;
        Some(Self(id.to_be_bytes()))
    }

    /// The half that sampling looks at.
    #[cfg(test)]
    pub(crate) fn low(self) -> u64 {
        u64::from_be_bytes(self.0[8..].try_into().expect("half of 16 bytes"))
    }
}

/// Makes the ids of one cluster's traces.
#[derive(Clone)]
pub struct TraceIds {
    high_key: [u8; 32],
    span_key: [u8; 32],
    mask: u64,
    step: u64,
}

/// What the keys are derived under: another layout of ids gets another text.
const CONTEXT: &str = "refrain 2026-11-25 ids of traces and spans";

impl TraceIds {
    /// The ids of `cluster`.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        let mut keys = [0; 80];
        blake3::Hasher::new_derive_key(CONTEXT).update(&cluster.0).finalize_xof().fill(&mut keys);
        let key = |from: usize| keys[from..from + 32].try_into().expect("32 of 80 bytes");
        let number = |from: usize| u64::from_le_bytes(keys[from..from + 8].try_into().expect("8 of 80 bytes"));
        Self { high_key: key(0), span_key: key(32), mask: number(64), step: number(72) | 1 }
    }

    /// The low half of a trace's id.
    #[inline]
    pub(crate) fn low(&self, group: GroupId, position: Position) -> u64 {
        mix((position.0 ^ self.mask).wrapping_add(u64::from(group.0).wrapping_mul(self.step)))
    }

    /// The id of the trace of a batch.
    #[must_use]
    pub fn trace(&self, group: GroupId, position: Position) -> TraceId {
        let mut hasher = blake3::Hasher::new_keyed(&self.high_key);
        hasher.update(&group.0.to_le_bytes()).update(&position.0.to_le_bytes());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        id[8..].copy_from_slice(&self.low(group, position).to_be_bytes());
        if id == [0; 16] {
            id[0] = 1;
        }
        TraceId(id)
    }

    /// The id of the span of `stage` in a trace. `instance` tells those of one stage apart: a node, or a seat.
    #[must_use]
    pub fn span(&self, trace: TraceId, stage: Stage, instance: u64) -> SpanId {
        let mut hasher = blake3::Hasher::new_keyed(&self.span_key);
        hasher.update(&trace.0).update(&instance.to_le_bytes()).update(stage.name().as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        if id == [0; 8] {
            id[7] = 1;
        }
        SpanId(id)
    }
}

/// Spreads every bit over all others; the finaliser of MurmurHash3, which is a bijection.
#[inline]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(*b"0123456789abcdef");

    #[test]
    fn ids_are_the_same_for_ever() {
        let ids = TraceIds::new(CLUSTER);
        let trace = ids.trace(GroupId(7), Position(42));
        assert_eq!(trace.to_string(), "f9cdfd195e1e0a1a710c470f667e35f4");
        assert_eq!(ids.span(trace, Stage::Batch, 0).to_string(), "2e1eeecf75ebeed5");
        assert_eq!(ids.span(trace, Stage::Turn, 2).to_string(), "1e5e094a70a452a5");
    }

    #[test]
    fn cluster_group_and_position_all_matter() {
        let (ids, other) = (TraceIds::new(CLUSTER), TraceIds::new(ClusterId([1; 16])));
        let trace = ids.trace(GroupId(7), Position(42));
        assert_ne!(trace, other.trace(GroupId(7), Position(42)));
        assert_ne!(trace, ids.trace(GroupId(8), Position(42)));
        assert_ne!(trace, ids.trace(GroupId(7), Position(43)));
        assert_ne!(trace, ids.trace(GroupId(42), Position(7)));
    }

    #[test]
    fn trace_stage_and_instance_all_matter_to_a_span() {
        let ids = TraceIds::new(CLUSTER);
        let (one, two) = (ids.trace(GroupId(7), Position(42)), ids.trace(GroupId(7), Position(43)));
        let span = ids.span(one, Stage::Turn, 1);
        assert_ne!(span, ids.span(two, Stage::Turn, 1));
        assert_ne!(span, ids.span(one, Stage::Vote, 1));
        assert_ne!(span, ids.span(one, Stage::Turn, 2));
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let trace = TraceIds::new(CLUSTER).trace(GroupId(7), Position(42));
        assert_eq!(TraceId::parse(&trace.to_string()), Some(trace));
        let zero = "0".repeat(32);
        for text in ["", "7", "+0af7651916cd43dd8448eb211c80319", "zaf7651916cd43dd8448eb211c80319c", &zero] {
            assert_eq!(TraceId::parse(text), None, "{text}");
        }
    }
}
