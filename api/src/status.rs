//! What `GET /v1/status` answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::HttpStatus;

/// The state of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the server.
    pub version: String,
    /// Number of the node.
    #[serde(default)]
    pub node: u64,
    /// Its data folder.
    pub data_dir: String,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// What an operator should see to, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The log; with several shards that of the first one.
    pub log: LogStatus,
    /// The proxy; with several shards its epoch in the first one, and the flows of all.
    pub proxy: ProxyStatus,
    /// All shards, by number; empty when there is one alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardStatus>,
    /// All services, sorted by name.
    pub services: Vec<ServiceStatus>,
    /// HTTP on this node; absent when nothing is served over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpStatus>,
}

/// The state of one of several shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Its number.
    pub shard: u16,
    /// Its log.
    pub log: LogStatus,
    /// The proxy in it.
    pub proxy: ProxyStatus,
}

/// The state of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Its random generation, in hexadecimal.
    pub generation: String,
    /// Position of the oldest entry that is kept.
    pub first_position: u64,
    /// Position of the newest entry.
    pub last_position: u64,
    /// Position up to which entries are committed.
    pub committed: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes at which it takes no more.
    pub max_bytes: u64,
    /// The disk had no room when something was last to be written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disk_full: bool,
    /// Term of its leader.
    pub term: u64,
    /// Member that leads, if one does.
    pub leader: Option<u64>,
    /// Voting members.
    #[serde(default)]
    pub members: Vec<u64>,
}

/// The state of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Its epoch, new with each start.
    pub epoch: u64,
    /// Open flows.
    pub flows: u64,
}

/// The state of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// `namespace/name@version`.
    pub name: String,
    /// The shard that it is on.
    #[serde(default)]
    pub shard: u16,
    /// Its group.
    pub group: u32,
    /// What it does.
    pub state: ServiceState,
    /// Whether it is ready, as this node sees it.
    #[serde(default)]
    pub ready: Readiness,
    /// How the guest ended last, if it ever did.
    pub exit_reason: Option<ExitReason>,
    /// How often the guest was started again.
    pub restarts: u64,
    /// The rule that releases its effects.
    pub agreement: Agreement,
    /// Its ports.
    pub ports: Vec<PortStatus>,
    /// Last position that is agreed.
    pub position: u64,
    /// Its seats.
    pub seats: Vec<SeatStatus>,
    /// Open flows.
    pub flows: u64,
    /// Bytes of the writable layer of its files.
    pub files_bytes: u64,
    /// Bytes of linear memory of one replica.
    pub memory_bytes: u64,
    /// Its history, when its guests cannot be saved in checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryStatus>,
}

/// Whether a service is ready, by the rule of its manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether it is.
    pub ready: bool,
    /// Why it is not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a service lives on whose guests cannot be saved in checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStatus {
    /// Bytes of everything that its replicas were given.
    pub bytes: u64,
    /// Bytes at which it takes no new work.
    pub max_bytes: u64,
    /// Why its guests cannot be saved.
    pub reasons: Vec<String>,
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReason {
    /// Stable; what a program acts on.
    pub kind: ExitKind,
    /// For people.
    pub message: String,
    /// The position at which it ended.
    pub position: u64,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its name.
    pub name: String,
    /// The port that the guest listens on.
    pub guest: u16,
    /// What clients speak: `tcp` or `udp`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// Where the proxy really listens: an address, or `unix:` and a path; empty when nowhere.
    pub listen: String,
    /// Where else it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// One seat of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatStatus {
    /// Its number, from 0.
    pub seat: u8,
    /// Node whose engine has it; 0 when none ever had.
    #[serde(default)]
    pub node: u64,
    /// Incarnation of its replica.
    pub incarnation: u64,
    /// What the replica does.
    pub state: SeatState,
    /// Last position that the replica has finished.
    pub position: u64,
    /// Entries of its group that are committed and not yet finished.
    pub lag: u64,
    /// Its running digest there, in hexadecimal; empty before the first turn, and where
    /// another node has the replica.
    pub digest: String,
    /// Why it is in this state, when that is not the ordinary one.
    pub reason: Option<String>,
    /// Position since which it is in this state.
    pub since_position: u64,
    /// Bytes of the guest's linear memory.
    pub memory_bytes: u64,
    /// Fuel of the last turn; absent when fuel is off or no turn was run.
    pub last_turn_fuel: Option<u64>,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
            /// A word of a later version.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown => "unknown",
                })
            }
        }
    )*};
}

words! {
    /// What an acknowledged write survives.
    Durability {
        /// The loss of power.
        Fsync = "fsync",
        /// The end of the process, as long as the system lives.
        None = "none",
    }

    /// The rule that releases effects.
    Agreement {
        /// More than half of all seats.
        Majority = "majority",
        /// Every seat.
        All = "all",
        /// The first reply, not checked.
        None = "none",
    }

    /// What a service does.
    ServiceState {
        /// Its replicas are being made ready.
        Starting = "starting",
        /// It answers.
        Running = "running",
        /// The guest has ended and waits to be started again.
        Backoff = "backoff",
        /// The guest has ended for good.
        Exited = "exited",
        /// Its replicas do not agree; it waits to be resumed.
        Halted = "halted",
    }

    /// What a replica does.
    SeatState {
        /// It votes.
        Active = "active",
        /// It catches up with the log.
        Replaying = "replaying",
        /// It was outvoted and does not vote.
        Quarantined = "quarantined",
        /// There is none.
        Dead = "dead",
    }

    /// How a guest ended.
    ExitKind {
        /// It exited, with the code that the message names.
        Exit = "exit",
        /// It trapped.
        Trap = "trap",
        /// A turn took more fuel than is allowed.
        Fuel = "fuel",
        /// It could not go on within its memory limit.
        Memory = "memory",
        /// An import cannot be satisfied.
        Import = "import",
        /// It exports no `_start`.
        NoStart = "no-start",
        /// The file is no module.
        NotAModule = "not-a-module",
        /// The file ends too early.
        Truncated = "truncated",
        /// The module is not valid, or uses a feature that is not run.
        InvalidModule = "invalid-module",
    }
}
