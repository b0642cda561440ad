//! What one turn wants done outside, with payloads: made by a replica, checked and released by proxies.

use bytes::Bytes;

use crate::{EffectEntry, Position, RunningDigest};

/// One effect with its payload: the bytes of a flow, a log line, the reason of an exit; else empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The effect as it is voted on.
    pub entry: EffectEntry,
    /// What `entry.digest` is the digest of.
    pub payload: Bytes,
}

/// All effects of one turn, in canonical order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnEffects {
    /// The turn.
    pub position: Position,
    /// The running digest before the turn.
    pub before: RunningDigest,
    /// The effects.
    pub effects: Vec<Effect>,
}
