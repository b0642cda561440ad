//! Newtypes for every number that names something, so that no two of them can be swapped by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(
    /// The index of an entry in the shard's log. The first entry has position 1; 0 is "before the log".
    Position(u64)
);
id!(
    /// A group: the unit of ordering of a replicated service. Never used again. Group 0 is the shard itself.
    GroupId(u32)
);
id!(
    /// One of a cluster's replicated logs, counted from 0. Shard 0's says which shard has which service.
    ShardId(u16)
);
id!(
    /// The number of one run of one proxy, given out by the log and never again.
    Epoch(u32)
);
id!(
    /// A proxy as its operator knows it; it keeps this id over restarts.
    ProxyId(u16)
);
id!(
    /// A node of the cluster, and a member of its log. Never used again: one that lost its disk gets another.
    NodeId(u64)
);
id!(
    /// The number of a flow within the epoch of the proxy that accepted it.
    Serial(u32)
);
id!(
    /// One of a group's numbered places for a replica, counted from 0.
    Seat(u8)
);
id!(
    /// How many replicas have held a seat before this one, plus one.
    Incarnation(u32)
);

impl ShardId {
    /// The first shard: every cluster has it, and its log says where the services of the others are.
    pub const FIRST: Self = Self(0);
}

impl GroupId {
    /// The shard's own group: epochs and the entropy of terms.
    pub const SHARD: Self = Self(0);
}

impl Position {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One flow, unique for the life of the log. Ordered by epoch, then by serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowId {
    /// The epoch of the proxy that holds the client's connection.
    pub epoch: Epoch,
    /// The flow's number within that epoch.
    pub serial: Serial,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.serial)
    }
}

/// A proxy's submission: numbers rise by one within an epoch, starting at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmissionId {
    /// The epoch of the submitting proxy.
    pub epoch: Epoch,
    /// The submission's number within the epoch.
    pub number: u64,
}

/// Which cluster a node belongs to: streams of another one are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The random identity of a log's history: new whenever the members cannot prove that they hold everything
/// acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub [u8; 16]);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({self})")
    }
}
