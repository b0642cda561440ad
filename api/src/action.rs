//! Bodies of the requests that do something to a service, and their answer.

use serde::{Deserialize, Serialize};

/// Ends one replica as a crash would; it is started again and replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillReplica {
    /// The seat, from 0.
    pub seat: u8,
}

/// Flips one bit of one replica's guest memory, then appends an audit. Refused unless the server was started with
/// `--allow-fault-injection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptReplica {
    /// The seat, from 0.
    pub seat: u8,
    /// Byte of the first memory; the server chooses one when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<u64>,
    /// Bit of that byte, 0 to 7; 0 when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit: Option<u8>,
}

/// Drops one replica and rebuilds it from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebuildReplica {
    /// The seat, from 0.
    pub seat: u8,
}

/// What was asked is in force from this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Position of the control record; where none is needed (killing a replica), the last committed position.
    pub position: u64,
}

/// Gives a service another number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// How many; odd, 1 to 7.
    pub replicas: u8,
}

/// Makes a node a member of the log. It must run with `--join` and reach the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    /// Its number; one that was never used.
    pub node: u64,
    /// Where the others reach it.
    pub address: String,
    /// Of which shard's log; may be absent when there is one shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u16>,
}

/// Names a member of the log: to be removed, or to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameMember {
    /// Its number.
    pub node: u64,
    /// Of which shard's log; may be absent when there is one shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u16>,
}

/// The members of a shard's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// The shard.
    #[serde(default)]
    pub shard: u16,
    /// How many shards there are.
    #[serde(default = "one")]
    pub shards: u16,
    /// The one that leads, if one is known to.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// All of them, by number.
    pub members: Vec<Member>,
}

fn one() -> u16 {
    1
}

/// One member of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub node: u64,
    /// Where the others reach it; empty for a member that is alone.
    pub address: String,
    /// Whether it votes, or only learns the log yet.
    pub voter: bool,
}
