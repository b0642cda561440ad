//! One node that chunks are asked of.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{MAX_ASKS, MAX_STALLS, STALL};
use crate::checkpoint::chunk::ChunkId;

/// Why a peer is not asked, or only when there is nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerFault {
    /// It sent other bytes than the chunk's: it is not asked again.
    WrongChunk {
        /// Which chunk it was asked for.
        chunk: ChunkId,
        /// What was wrong.
        what: String,
    },
    /// It did not answer.
    Silent {
        /// How many asks in a row.
        asks: u32,
    },
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongChunk { what, .. } => f.write_str(what),
            Self::Silent { asks } => write!(f, "did not answer {asks} asks in time"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Peer {
    /// What it was asked for, and when.
    pub(super) asks: BTreeMap<ChunkId, Duration>,
    /// Late answers in a row.
    pub(super) stalls: u32,
}

impl Peer {
    /// One that does not answer is asked for one chunk at a time.
    pub(super) fn has_room(&self) -> bool {
        self.asks.len() < if self.is_set_aside() { 1 } else { MAX_ASKS }
    }

    pub(super) fn is_set_aside(&self) -> bool {
        self.stalls >= MAX_STALLS
    }

    /// Takes out the asks whose answers are late.
    pub(super) fn take_late(&mut self, now: Duration) -> Vec<ChunkId> {
        let late: Vec<ChunkId> =
            self.asks.iter().filter(|(_, since)| **since + STALL <= now).map(|(chunk, _)| *chunk).collect();
        self.asks.retain(|_, since| *since + STALL > now);
        self.stalls = self.stalls.saturating_add(late.len() as u32);
        late
    }
}
