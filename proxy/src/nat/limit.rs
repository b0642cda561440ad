//! The limits of the NAT table, and the answer at each.

use std::net::IpAddr;
use std::time::Duration;

use refrain_wire::GroupId;
use refrain_wire::limits::MAX_BATCH_BYTES;

/// The most record bytes of one group that wait for a submission: two full batches. At the limit its flows are
/// not read; new connections are bounded by their own limits and still accepted.
pub const MAX_PENDING_BYTES: usize = 2 * MAX_BATCH_BYTES;

/// Limits of the whole table, of whose places one group may take seven eighths while there are others; those of clients
/// hold for groups that have none of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most connections of clients; one more is refused.
    pub connections: usize,
    /// The most associations of clients, besides; the datagram of one more is dropped.
    pub associations: usize,
    /// The most connections of one client address; one more is refused.
    pub connections_per_client: usize,
    /// How long a client may neither send nor take anything, or take nothing of what waits for it, before its flow
    /// is reset by a record.
    pub idle: Duration,
    /// The most connections that guests opened; one more fails with [`refrain_wire::CallFailure::NoRoom`].
    pub outward_calls: usize,
    /// The most look-ups without an answer; one more fails with [`refrain_wire::CallFailure::NoRoom`].
    pub lookups: usize,
    /// How long a call may take to be connected before it fails.
    pub connect_time: Duration,
    /// How long a look-up may take before it fails.
    pub lookup_time: Duration,
}

/// How many of a table's places one group may take: seven eighths while there are others, so that neither one service
/// nor a client of it can take all.
pub(super) fn share(limit: usize, groups: usize) -> usize {
    if groups > 1 { limit - limit / 8 } else { limit }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            associations: 10_000,
            connections_per_client: 12_000,
            idle: Duration::from_secs(600),
            outward_calls: 10_000,
            lookups: 4_096,
            connect_time: Duration::from_secs(30),
            lookup_time: Duration::from_secs(10),
        }
    }
}

/// Limits of one group; the same as those that its kernel was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Bytes of a flow, each way, that may be under way: read but not consumed, or emitted but not told delivered.
    pub window_bytes: u64,
    /// Bytes that all flows together may have under way, each way. Above a quarter of them on the way to clients, what
    /// is delivered is told at once.
    pub buffers_bytes: u64,
    /// The most connections and associations of the group, if it has a limit of its own.
    pub connections: Option<usize>,
    /// The most of these that may be associations, if there is such a limit.
    pub associations: Option<usize>,
    /// The most connections of one client address, if the group has a limit of its own.
    pub connections_per_client: Option<usize>,
    /// The idle limit, if the group has one of its own.
    pub idle: Option<Duration>,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            window_bytes: 1024 * 1024,
            buffers_bytes: 256 * 1024 * 1024,
            connections: None,
            associations: None,
            connections_per_client: None,
            idle: None,
        }
    }
}

/// Why a connection is not accepted. It was told to nobody: the client may try again without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The table, or the group's share of it, is full.
    #[error("there are {limit} connections, which is the limit")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// One address has too many.
    #[error("client {client} has {limit} connections, which is the limit")]
    TooManyFromClient {
        /// The address.
        client: IpAddr,
        /// The limit.
        limit: usize,
    },
    /// The group was halted.
    #[error("group {0} is halted")]
    Halted(GroupId),
    /// The group takes no new work: its history is full.
    #[error("group {0} takes no new work: its history is full")]
    Full(GroupId),
    /// No such group was added.
    #[error("group {0} is not known")]
    UnknownGroup(GroupId),
    /// Every serial of the epoch was used; see [`super::Nat::is_used_up`].
    #[error("the epoch has no serials left")]
    SerialsUsed,
    /// No epoch has begun, or it has ended.
    #[error("the proxy has no epoch")]
    NoEpoch,
}
