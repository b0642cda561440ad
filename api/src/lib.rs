//! The admin API `/v1`: plain JSON types, paths, error codes, and how a client finds its server. No I/O but that of
//! [`discovery`] and [`ForensicReport`]; the handlers live in the server, the client in `rctl`.
//!
//! Every request carries `Authorization: Bearer <token>`. Answers are JSON; an answer other than 2xx carries an
//! [`ErrorBody`]. Fields are added, never renamed or removed, within `/v1`; clients ignore fields that they do not
//! know.

mod action;
pub mod discovery;
mod error;
mod forensics;
mod http;
pub mod paths;
mod service;
mod status;
mod token;
mod trace;
mod upgrade;

pub use action::{
    AddMember, Appended, CorruptReplica, KillReplica, Member, Members, NameMember, RebuildReplica, Scale,
};
pub use error::{ErrorBody, ErrorCode};
pub use forensics::{
    FORENSIC_REPORT_FILE, FORENSICS_FOLDER, ForensicCheckpoint, ForensicEngine, ForensicHost, ForensicReport,
    ForensicState,
};
pub use http::{
    Deploy, HttpDetail, HttpProblem, HttpServiceStatus, HttpStatus, HttpUpstreamState, HttpUpstreamStatus,
    HttpVersionDetail, Weights,
};
pub use service::{
    CheckpointStatus, GUEST_LINE_BYTES_KEPT, GUEST_LINES_KEPT, GuestLine, GuestLines, LimitStatus, ServiceDetail,
};
pub use status::{
    Agreement, Durability, ExitKind, ExitReason, HistoryStatus, LogStatus, PortStatus, ProxyStatus, Readiness,
    SeatState, SeatStatus, ServiceState, ServiceStatus, ShardStatus, Status,
};
pub use token::{TOKEN_CHARS_MAX, TOKEN_CHARS_MIN, Token, TokenError};
pub use trace::{Attribute, Span, Trace, Traces};
pub use upgrade::{EnginePreparation, PreparationStep, StoredBundle, Upgrade, UpgradeState, UpgradeStatus};

/// Where the admin API listens when nothing else is said.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7070";
