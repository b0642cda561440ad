//! What goes into a turn and what comes out of it.

use bytes::Bytes;
use refrain_wire::outward::Owner;
use refrain_wire::turn::Effect;
use refrain_wire::{Epoch, Position, Time};

/// An event of the shard that concerns every group on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardEvent {
    /// A leader took office and brought fresh entropy.
    Term([u8; 32]),
    /// A proxy's epoch may be given outward calls from the next turn on.
    EpochOpened(Owner),
    /// A proxy's epoch is over: its flows are reset.
    EpochEnded(Epoch),
}

/// One batch as a replica applies it: events of the shard at that position, then the group's records.
#[derive(Debug, Clone)]
pub struct TurnInput<'a> {
    /// Where in the log.
    pub position: Position,
    /// Log time.
    pub time: Time,
    /// Events of the shard.
    pub shard: &'a [ShardEvent],
    /// The group's encoded records; empty when only the shard has something.
    pub records: &'a Bytes,
}

/// What a turn left behind.
#[derive(Debug)]
pub struct TurnEnd {
    /// Its effects, in canonical order.
    pub effects: Vec<Effect>,
    /// When the replica wants its next turn, if at all.
    pub wants: Option<Time>,
}
