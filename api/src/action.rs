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
