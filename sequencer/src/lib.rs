//! The ordered log of a shard: drafts go in, entries come out at positions, the same for everyone, for ever.
//!
//! Read in this order:
//! - [`log`]: the contract [`OrderedLog`](log::OrderedLog); [`memory`] and [`raft`] implement it;
//! - [`shard`], [`batcher`], [`clock`]: pure; what entries mean, what forms the next draft, what time it bears;
//! - [`office`]: pure; what the leader has ordered by itself: seats, ends of leases, ticks, audits, checkpoints;
//! - [`sequencer`]: the leader's driver, which joins these with a log;
//! - [`segment_log`]: a member's files: [`frame`], [`meta`], [`recovery`], [`writer`], [`snapshot`];
//! - [`disk`], [`flush`], [`net`]: the seams to the machine; [`sim`]: a disk that breaks on purpose;
//! - [`observe`]: what a log lets others see of its work.
//!
//! Guarantees: an entry that was acknowledged survives any crash (with durability `fsync`); damage is an error and
//! never a shorter log; an error of a sync ends the log; a full disk or log refuses and loses nothing.
//! `docs/formats.md` draws the files.
//!
//! Leaves to others: who submits, who executes, who votes.

pub mod batcher;
pub mod clock;
pub mod disk;
pub mod flush;
pub mod frame;
mod index;
pub mod log;
pub mod memory;
pub mod meta;
pub mod net;
pub mod observe;
pub mod office;
pub mod raft;
pub mod recovery;
mod segment;
pub mod segment_log;
pub mod sequencer;
pub mod shard;
mod shared;
pub mod sim;
pub mod snapshot;
pub mod watch;
pub mod writer;
