//! The formats that Refrain's parts exchange and keep: ids, records, batches, entries, votes and effects.
//!
//! Streams between nodes are `stream` (greeting, frames) and `message` (what the frames say).
//!
//! Guarantees: every decoder is total (any bytes give a value or an error, never a panic), lengths are bounded
//! before anything is allocated, batches and votes carry a CRC-32C, and payloads are handed out as slices of the
//! buffer they came in. All integers are little endian. `docs/formats.md` draws the layouts and golden tests fix
//! the bytes.
//!
//! Leaves to others: sockets, files, clocks and the meaning of what is carried.

pub mod batch;
pub mod control;
pub mod digest;
pub mod effect;
pub mod entry;
pub mod id;
pub mod ip_range;
pub mod limits;
pub mod message;
pub mod outward;
mod reader;
pub mod record;
pub mod stream;
pub mod time;
pub mod turn;
pub mod vote;

pub use batch::Batch;
pub use control::{Control, ShardControl};
pub use digest::{Digest, RunningDigest};
pub use effect::{EffectEntry, EffectKind};
pub use entry::Entry;
pub use id::{
    ClusterId, Epoch, FlowId, Generation, GroupId, Incarnation, NodeId, Position, ProxyId, Seat, Serial, ShardId,
    SubmissionId,
};
pub use ip_range::{IpRange, IpRangeError};
pub use outward::{CallFailure, Protocol, ProxyHeader, Target};
pub use reader::DecodeError;
pub use record::{Record, RecordWriter, ResetReason};
pub use time::Time;
pub use vote::Vote;
