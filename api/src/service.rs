//! What `GET /v1/services/{namespace}/{name}` and `.../logs` answer.

use serde::{Deserialize, Serialize};

use crate::ServiceStatus;

/// Everything about one service, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDetail {
    /// The node that answers.
    pub node: u64,
    /// What the status of the server says of it.
    pub status: ServiceStatus,
    /// The digest of the bundle that it runs, in hexadecimal.
    pub bundle: String,
    /// How many equal votes release its effects; 0 for a service that cannot run.
    pub quorum: u8,
    /// When it counts as ready, in words.
    pub ready_when: String,
    /// What the guest may reach outside, as the manifest writes it; empty is nothing.
    pub outbound: Vec<String>,
    /// Its limits, as the manifest has them.
    pub limits: Vec<LimitStatus>,
    /// The newest checkpoint that was agreed on.
    pub checkpoint: Option<CheckpointStatus>,
    /// Why its guests cannot be saved in checkpoints; empty when they can.
    pub unsavable: Vec<String>,
}

/// A limit of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitStatus {
    /// Its key in `[limits]`; of `[http]` with the table, as `http.instances`.
    pub name: String,
    /// `bytes`, `count`, `fuel` or `milliseconds`.
    pub unit: String,
    /// The limit; absent when it is off.
    pub limit: Option<u64>,
    /// What is used of it, by the replica of this node that is farthest, by its proxy's clients, or its instances; absent
    /// where nobody counts it.
    pub used: Option<u64>,
}

impl From<(&str, &str, Option<u64>, Option<u64>)> for LimitStatus {
    /// Its name, its unit, the limit, and what is used.
    fn from((name, unit, limit, used): (&str, &str, Option<u64>, Option<u64>)) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), limit, used }
    }
}

/// A checkpoint that was agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointStatus {
    /// The turn after which it was taken.
    pub position: u64,
    /// The digest that its name is, in hexadecimal.
    pub root: String,
}

/// Lines that a guest wrote, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestLines {
    /// The node that kept them; each keeps what its own proxy released, or its own instances wrote, since it started.
    pub node: u64,
    /// The lines.
    pub lines: Vec<GuestLine>,
    /// Pass it as `after` to be given those that follow.
    pub next: u64,
    /// How many that would have been next are not kept any more.
    pub missed: u64,
}

/// A line that a guest wrote: of a replicated service one that its replicas agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestLine {
    /// Its number on this node, from 1.
    pub number: u64,
    /// The turn that wrote it; 0 of a stateless service.
    pub position: u64,
    /// When this node released it, or its instance wrote it, by the node's own clock: microseconds since 1970.
    pub time_micros: u64,
    /// Where to: `out` or `err`; `host` is what the host says about lines of a stateless service that it dropped.
    pub stream: String,
    /// The version that wrote it, of a stateless service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The line, without its end; bytes that are not UTF-8 are replaced.
    pub line: String,
}

/// Lines of one service that a node keeps; older ones go first.
pub const GUEST_LINES_KEPT: usize = 10_000;
/// Bytes of lines of one service that a node keeps.
pub const GUEST_LINE_BYTES_KEPT: usize = 1 << 20;
