//! The ordered log by Raft: openraft over the segment log. This module is the only one that knows openraft.
//!
//! One member for now; ids, entries and the meta file are those of three or five. A draft is encoded once, when
//! the leader appends it; the same bytes go to disk, to the cache and to the sink. Space for a draft is reserved
//! before openraft sees it, because openraft takes any storage error for the end.
//!
//! Everything runs on the tokio runtime on which [`RaftLog::open`] was called, which may have a single thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use openraft::error::{ClientWriteError, RaftError};
use openraft::{Config, Raft, SnapshotPolicy, StoredMembership};
use refrain_wire::entry::Draft;
use refrain_wire::{Generation, Position};

use crate::disk::Disk;
use crate::flush::Exec;
use crate::frame::{EntryKind, FRAME_BYTES};
use crate::log::{AppendError, CommitSink, LogStats, OrderedLog, ReadError, check_draft};
use crate::recovery::OpenError;
use crate::segment_log::{SegmentLog, SegmentOptions};
use crate::writer::WriteError;

mod machine;
mod membership;
mod network;
mod storage;
mod types;

use machine::Machine;
use network::{Network, NoPeers};
use storage::{RaftStore, completed, completion, known_committed};
use types::{Proposal, RaftLogEntry, Types, alone, to_log_id};

/// Bytes of every segment that only openraft's own entries use, so that taking office never needs new space.
const RESERVE_BYTES: u64 = 4096;
/// How many payload bytes are read at a time at the start.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;
/// The share of `max_log_bytes` at which a warning is logged, in percent.
const WARN_PERCENT: u64 = 80;

/// How a Raft log is kept.
#[derive(Clone)]
pub struct RaftOptions {
    /// This member's number; never used again for another one.
    pub node: u64,
    /// The files.
    pub segments: SegmentOptions,
    /// The most bytes of entries on disk: a warning at 80 %, refusal at 100 %. `None` for no limit.
    pub max_log_bytes: Option<u64>,
    /// The sink gets no entries before this position.
    pub deliver_from: Position,
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self { node: 1, segments: SegmentOptions::default(), max_log_bytes: None, deliver_from: Position(1) }
    }
}

/// Why a Raft log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenRaftError {
    /// The files cannot be opened.
    #[error(transparent)]
    Files(#[from] OpenError),
    /// Entries cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry's members cannot be decoded.
    #[error("the members in entry {index} cannot be decoded")]
    Members {
        /// The entry.
        index: u64,
    },
    /// The member could not take office.
    #[error("member {node} could not take office: {reason}")]
    Office {
        /// The member.
        node: u64,
        /// What Raft says.
        reason: String,
    },
}

/// The log.
pub struct RaftLog {
    raft: Raft<Types>,
    log: Arc<SegmentLog>,
    node: u64,
    committed: Arc<AtomicU64>,
    max_log_bytes: Option<u64>,
    /// Frame bytes of appends that are on their way.
    in_flight: AtomicU64,
    warned: AtomicBool,
}

/// Counts an append as on its way until it is dropped.
struct InFlight<'a> {
    counter: &'a AtomicU64,
    bytes: u64,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl RaftLog {
    /// Opens the log on `disk`, or begins one with this member alone; delivers all committed entries to `sink`
    /// and takes office before it returns.
    ///
    /// # Errors
    /// When files are damaged, missing or unreadable, or the first writes fail.
    pub async fn open(
        disk: Arc<dyn Disk>,
        exec: &dyn Exec,
        options: RaftOptions,
        sink: CommitSink,
    ) -> Result<Self, OpenRaftError> {
        let log = Arc::new(SegmentLog::open(disk, exec, options.segments)?);
        let committed = Arc::new(AtomicU64::new(0));
        let mut machine = Machine {
            applied: None,
            members: StoredMembership::default(),
            committed: committed.clone(),
            deliver_from: options.deliver_from,
            sink,
        };
        replay(&log, options.node, &mut machine)?;
        let raft = start(&log, options.node, machine).await?;
        Ok(Self {
            raft,
            log,
            node: options.node,
            committed,
            max_log_bytes: options.max_log_bytes,
            in_flight: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        })
    }

    /// Sees to it that `bytes` of frames can be written without new space, or refuses.
    async fn admit(&self, bytes: u64) -> Result<InFlight<'_>, AppendError> {
        let in_flight = self.in_flight.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let guard = InFlight { counter: &self.in_flight, bytes };
        self.check_limit(in_flight)?;
        if !self.log.has_room(in_flight + RESERVE_BYTES) {
            let (done, receiver) = completion();
            self.log.reserve(in_flight + RESERVE_BYTES, done);
            completed(receiver).await?;
        }
        Ok(guard)
    }

    fn check_limit(&self, needed_bytes: u64) -> Result<(), AppendError> {
        let Some(max_bytes) = self.max_log_bytes else { return Ok(()) };
        let bytes = self.log.bytes();
        if bytes + needed_bytes > max_bytes {
            return Err(AppendError::Full { bytes, max_bytes, needed_bytes });
        }
        let high = bytes + needed_bytes > max_bytes / 100 * WARN_PERCENT;
        if high && !self.warned.swap(high, Ordering::Relaxed) {
            tracing::warn!(bytes, max_bytes, "the log has reached {WARN_PERCENT} % of its limit");
        }
        Ok(())
    }

    fn fatal(&self) -> AppendError {
        self.log.fault().map_or(AppendError::Closed, AppendError::Failed)
    }

    fn append_error(&self, error: RaftError<u64, ClientWriteError<u64, types::Member>>) -> AppendError {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                AppendError::NotLeader { leader: forward.leader_id }
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) | RaftError::Fatal(_) => self.fatal(),
        }
    }
}

/// Delivers what is certainly committed, in small steps, before openraft starts.
fn replay(log: &SegmentLog, node: u64, machine: &mut Machine) -> Result<(), OpenRaftError> {
    let Some(last) = known_committed(log, node) else { return Ok(()) };
    let mut at = log.first();
    while at <= last.index {
        let entries = log.read(at, last.index + 1, REPLAY_BYTES)?;
        at += entries.len() as u64;
        for entry in entries {
            let index = entry.id.index;
            machine.apply_one(RaftLogEntry::from_log_entry(entry).ok_or(OpenRaftError::Members { index })?);
        }
    }
    machine.applied = Some(to_log_id(last));
    log.note_committed(last);
    Ok(())
}

async fn start(log: &Arc<SegmentLog>, node: u64, machine: Machine) -> Result<Raft<Types>, OpenRaftError> {
    let office = |reason: String| OpenRaftError::Office { node, reason };
    let config = Config {
        cluster_name: "refrain".to_owned(),
        heartbeat_interval: 100,
        election_timeout_min: 500,
        election_timeout_max: 1000,
        snapshot_policy: SnapshotPolicy::Never,
        ..Config::default()
    };
    let config = config.validate().map_err(|error| office(error.to_string()))?;
    let store = RaftStore { log: log.clone(), node };
    let begun = log.last().is_some();
    let raft = Raft::new(node, Arc::new(config), Network(Arc::new(NoPeers)), store, machine)
        .await
        .map_err(|error| office(error.to_string()))?;
    if begun {
        raft.trigger().elect().await.map_err(|error| office(error.to_string()))?;
    } else {
        raft.initialize(alone(node)).await.map_err(|error| office(error.to_string()))?;
    }
    let leads = raft.wait(None);
    let leads = leads.metrics(|metrics| metrics.current_leader == Some(node), "take office");
    leads.await.map_err(|error| office(error.to_string()))?;
    raft.ensure_linearizable().await.map_err(|error| office(error.to_string()))?;
    Ok(raft)
}

impl OrderedLog for RaftLog {
    async fn append(&self, draft: Draft) -> Result<Position, AppendError> {
        let bytes = check_draft(&draft)? + FRAME_BYTES;
        let _in_flight = self.admit(bytes as u64).await?;
        let written = self.raft.client_write(Proposal(draft)).await;
        let response = written.map_err(|error| self.append_error(error))?;
        Ok(Position(response.log_id.index))
    }

    fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Acquire))
    }

    fn first(&self) -> Position {
        Position(self.log.first().max(1))
    }

    fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<(Position, Bytes)>, ReadError> {
        let end = self.committed().next().0;
        let mut at = from.0.max(1);
        while at < end {
            let run = self.log.read(at, end, max_bytes)?;
            at += run.len().max(1) as u64;
            let entries: Vec<_> = run
                .into_iter()
                .filter(|entry| entry.kind == EntryKind::Batches)
                .map(|entry| (Position(entry.id.index), entry.payload))
                .collect();
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    }

    fn generation(&self) -> Generation {
        self.log.meta().generation
    }

    fn leading(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        (metrics.current_leader == Some(self.node)).then_some(metrics.current_term)
    }

    fn stats(&self) -> LogStats {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        LogStats {
            bytes: self.log.bytes(),
            max_bytes: self.max_log_bytes,
            durability: self.log.durability(),
            generation: self.generation(),
            term: metrics.current_term,
            leader: metrics.current_leader,
            members: metrics.membership_config.voter_ids().collect(),
            first: self.first(),
            committed: self.committed(),
        }
    }

    async fn close(&self) -> Result<(), WriteError> {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        let (done, receiver) = completion();
        self.log.close(done);
        completed(receiver).await
    }
}
