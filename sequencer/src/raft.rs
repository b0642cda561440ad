//! The ordered log by Raft: openraft over the segment log. This module is the only one that knows openraft.
//!
//! Read [`options`](RaftOptions), then `begin` (how a log begins), `storage` and `machine` (openraft's view of our
//! files and of the sink), `message`, `link`, `network` and `serve` (members talking), `leadership`, `members`, `standing`, `snapshots`; `archive` reads the files of a member that does not run.
//!
//! A draft is encoded once, when the leader appends it; the same bytes go to disk, to the cache, to the other members
//! and to the sink. Space for entries is reserved before openraft sees them, because openraft takes any storage error
//! for the end.
//!
//! Everything runs on the tokio runtime on which [`RaftLog::open`] was called, which may have a single thread. Time is
//! tokio's, randomness comes from the options: a simulated run is the same every time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::watch;
use bytes::Bytes;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::error::{ClientWriteError, ForwardReason, RaftError};
use refrain_wire::entry::Draft;
use refrain_wire::{Generation, NodeId, Position};
use tokio::task::AbortHandle;

use crate::disk::Disk;
use crate::flush::Exec;
use crate::frame::{EntryKind, FRAME_BYTES};
use crate::log::{AppendError, CommitSink, Leadership, LogStats, OrderedLog, ReadError, check_draft};
use crate::recovery::OpenError;
use crate::segment_log::SegmentLog;
use crate::snapshot::{SNAPSHOT_FILE, SnapshotFile};
use crate::writer::WriteError;

mod archive;
mod begin;
mod cursor;
mod leadership;
mod link;
mod machine;
mod members;
mod membership;
mod message;
mod network;
mod options;
mod runtime;
mod serve;
mod snapshots;
mod space;
mod standing;
mod storage;
mod types;

pub use archive::{Archive, ArchiveError};
pub use begin::{BeginError, Bootstrap};
pub use members::{MAX_MEMBERS, MemberError, MemberStatus};
pub use message::comes_back;
pub use options::{ElectionTimes, OpenRaftError, RaftOptions};
pub use serve::RaftServer;
pub use snapshots::CutError;
pub use standing::Removed;

use begin::Beginning;
use leadership::View;
use link::Origin;
use machine::Machine;
use network::Peers;
use runtime::Runtime;
use snapshots::{Kept, Snapshots};
use space::Space;
use standing::Heard;
use storage::{RaftStore, completed, completion, known_committed, votes_alone};
use types::{Member, Proposal, Raft, RaftLogEntry, StoredMembers, Types};

/// How many payload bytes are read at a time at the start.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;

/// The log.
pub struct RaftLog {
    raft: Raft,
    log: Arc<SegmentLog>,
    node: NodeId,
    committed: Arc<AtomicU64>,
    snapshots: Arc<Snapshots>,
    space: Arc<Space>,
    view: View,
    leadership: watch::Receiver<Leadership>,
    follower: AbortHandle,
    peers: Peers,
    beginning: Arc<Beginning>,
    heard: Heard,
    server: RaftServer,
    election: ElectionTimes,
    elections: Arc<AtomicU64>,
}

impl Drop for RaftLog {
    fn drop(&mut self) {
        self.follower.abort();
        self.peers.retain(|_| false);
    }
}

impl RaftLog {
    /// Opens the log on `disk`, or begins one; delivers all entries that are known to be committed to `sink`. A member
    /// that votes alone has taken office when this returns. Others find their leader once their streams are served
    /// ([`RaftLog::server`]), and a log of several members begins in [`RaftLog::begin`].
    ///
    /// # Errors
    /// When files are damaged, missing or unreadable, or the first writes fail.
    pub async fn open(
        disk: Arc<dyn Disk>,
        exec: &dyn Exec,
        options: RaftOptions,
        sink: CommitSink,
    ) -> Result<Self, OpenRaftError> {
        options.check()?;
        let config = Arc::new(options.election.config()?);
        let mut seed = [0; 8];
        let entropy = options.segments.entropy.clone();
        let kept = read_snapshot(&*disk)?;
        let log = Arc::new(SegmentLog::open(disk, exec, options.segments.clone())?);
        let snapshots = Arc::new(Snapshots::new(log.clone(), kept));
        entropy(&mut seed).map_err(OpenRaftError::Entropy)?;
        let node = options.node;
        let committed = Arc::new(AtomicU64::new(0));
        let mut machine = Machine {
            applied: None,
            members: StoredMembers::default(),
            committed: committed.clone(),
            deliver_from: options.deliver_from,
            sink,
            log: log.clone(),
            snapshots: snapshots.clone(),
        };
        replay(&log, node, &mut machine)?;
        let begun = machine.applied.is_some() || log.last().is_some();
        let beginning = Arc::new(Beginning::new(node, options.cluster, log.clone(), options.members.clone()));
        let voters = Arc::new(parking_lot::RwLock::new(None));
        let peers = Peers::new(Arc::new(Origin {
            net: options.net,
            node,
            cluster: options.cluster,
            generation: known_generation(&beginning),
            is_voter: voter_check(&voters),
            observer: options.segments.observer.clone(),
            heartbeat: options.election.heartbeat,
            silence: options.election.timeout,
        }));
        let elections = Arc::new(AtomicU64::new(0));
        let store = RaftStore { log: log.clone(), node, elections: elections.clone() };
        let raft = Raft::new(node.0, config, peers.clone(), store, machine);
        let raft = Runtime::scope(u64::from_le_bytes(seed), raft).await;
        let raft = raft.map_err(|error| OpenRaftError::Office { node, reason: error.to_string() })?;
        *voters.write() = Some(raft.server_metrics());
        let view = View::new(&raft, node, options.election.lease());
        let (publish, leadership) = watch::channel(view.now());
        let follower = tokio::spawn(view.clone().follow(publish, options.election.heartbeat)).abort_handle();
        let space = Arc::new(Space::new(log.clone(), options.max_log_bytes));
        let heard = Heard::now(options.election.lease());
        let server = RaftServer::new(raft.clone(), beginning.clone(), space.clone(), heard.clone());
        let this = Self {
            raft,
            log,
            node,
            committed,
            snapshots,
            space,
            view,
            leadership,
            follower,
            peers,
            beginning,
            heard,
            server,
            election: options.election,
            elections,
        };
        if begun && votes_alone(&this.log, node) {
            this.elect_alone().await?;
            this.move_to(&options.address).await?;
        } else if !begun && options.members == Bootstrap::Alone {
            this.begin_alone(options.address).await?;
        }
        Ok(this)
    }

    fn office(&self, error: impl ToString) -> OpenRaftError {
        OpenRaftError::Office { node: self.node, reason: error.to_string() }
    }

    async fn begin_alone(&self, address: String) -> Result<(), OpenRaftError> {
        let generation = self.log.meta().generation;
        self.beginning.settle(generation).await.map_err(|error| self.office(error))?;
        let members = std::collections::BTreeMap::from([(self.node.0, Member { address })]);
        self.raft.initialize(members).await.map_err(|error| self.office(error))?;
        self.take_office().await
    }

    async fn elect_alone(&self) -> Result<(), OpenRaftError> {
        self.raft.trigger().elect(false).await.map_err(|error| self.office(error))?;
        self.take_office().await
    }

    async fn take_office(&self) -> Result<(), OpenRaftError> {
        let mut leadership = self.leadership.clone();
        let mut metrics = self.raft.metrics();
        loop {
            if leadership.borrow_and_update().leading {
                return Ok(());
            }
            if let Err(error) = &metrics.borrow_watched().running_state {
                return Err(self.office(error));
            }
            tokio::select! {
                biased;
                changed = leadership.changed() => changed.map_err(|error| self.office(error))?,
                changed = metrics.changed() => changed.map_err(|error| self.office(error))?,
            }
        }
    }

    /// A member that is alone tells the log where it is to be found from now on.
    async fn move_to(&self, address: &str) -> Result<(), OpenRaftError> {
        let known = self.members().into_iter().find(|member| member.node == self.node);
        if address.is_empty() || known.is_some_and(|own| own.address == address) {
            return Ok(());
        }
        let member = Member { address: address.to_owned() };
        let change = ChangeMembers::SetNodes(std::collections::BTreeMap::from([(self.node.0, member)]));
        self.change(change).await.map_err(|error| self.office(error))
    }

    /// Waits until this member takes part in a log. An initial member with the lowest number begins it: the others
    /// must be reachable then. The member's streams must be served meanwhile. May be dropped and called again.
    ///
    /// # Errors
    /// When it never will: it lost its disk, or other members disagree.
    pub async fn begin(&self) -> Result<(), BeginError> {
        self.beginning.run(&self.raft, &self.peers, self.election.heartbeat).await
    }

    /// The identity of the log that this member takes part in; none before it does.
    #[must_use]
    pub fn known_generation(&self) -> Option<Generation> {
        self.beginning.begun().then(|| self.beginning.known())
    }

    /// Serves the streams of other members.
    #[must_use]
    pub fn server(&self) -> RaftServer {
        self.server.clone()
    }

    /// Elections that this member has begun since it was opened.
    #[must_use]
    pub fn elections(&self) -> u64 {
        self.elections.load(Ordering::Relaxed)
    }

    /// How many members vote.
    #[must_use]
    pub fn voters(&self) -> usize {
        let metrics = self.raft.server_metrics();
        metrics.borrow_watched().membership_config.voter_ids().count()
    }

    fn lease(&self) -> Duration {
        self.election.lease()
    }

    fn fatal(&self) -> AppendError {
        self.log.fault().map_or(AppendError::Closed, AppendError::Failed)
    }

    fn append_error(&self, error: RaftError<Types, ClientWriteError<Types>>) -> AppendError {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => match forward.reason {
                ForwardReason::LeaseExpired => AppendError::NoQuorum,
                ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                    AppendError::NotLeader { leader: forward.leader_id.map(NodeId) }
                }
            },
            RaftError::APIError(_) => AppendError::Unknown,
            RaftError::Fatal(_) => self.fatal(),
        }
    }

    /// Waits for openraft as long as this member leads; `None` when it does not any more and no answer has come.
    async fn in_bounded_time<T>(&self, write: impl Future<Output = T>) -> Option<T> {
        let mut write = pin!(write);
        loop {
            match tokio::time::timeout(self.lease(), &mut write).await {
                Ok(outcome) => return Some(outcome),
                Err(_) if self.view.now().leading => {}
                Err(_) => return None,
            }
        }
    }
}

fn known_generation(beginning: &Arc<Beginning>) -> Box<dyn Fn() -> Generation + Send + Sync> {
    let beginning = beginning.clone();
    Box::new(move || beginning.known())
}

type ServerMetrics = openraft::type_config::alias::WatchReceiverOf<Types, openraft::metrics::RaftServerMetrics<Types>>;

fn voter_check(metrics: &Arc<parking_lot::RwLock<Option<ServerMetrics>>>) -> Box<dyn Fn(NodeId) -> bool + Send + Sync> {
    let metrics = metrics.clone();
    Box::new(move |node| {
        let metrics = metrics.read();
        let voters = |metrics: &ServerMetrics| {
            metrics.borrow_watched().membership_config.voter_ids().any(|voter| voter == node.0)
        };
        metrics.as_ref().is_some_and(voters)
    })
}

fn read_snapshot(disk: &dyn Disk) -> Result<Option<Kept>, OpenError> {
    let Some(file) = SnapshotFile::read(disk)? else { return Ok(None) };
    let damaged = || OpenError::DamagedFile { path: disk.path(SNAPSHOT_FILE), what: "snapshot's head" };
    Kept::from_file(file).map(Some).ok_or_else(damaged)
}

/// Delivers the snapshot, and then what is certainly committed, in small steps, before openraft starts.
fn replay(log: &SegmentLog, node: NodeId, machine: &mut Machine) -> Result<(), OpenRaftError> {
    let kept = machine.snapshots.current();
    if let Some(kept) = &kept {
        machine.apply_snapshot(kept);
    }
    let mut at = kept.map_or(0, |kept| kept.position().0 + 1);
    if log.first() > at {
        return Err(OpenRaftError::MissingSnapshot { first: log.first() });
    }
    let Some(last) = known_committed(log, node).filter(|last| last.index >= at) else { return Ok(()) };
    while at <= last.index {
        let entries = log.read(at, last.index + 1, REPLAY_BYTES)?;
        at += entries.len() as u64;
        for entry in entries {
            let index = entry.id.index;
            machine.apply_one(RaftLogEntry::from_log_entry(entry).ok_or(OpenRaftError::Members { index })?);
        }
    }
    log.note_committed(last);
    Ok(())
}

impl OrderedLog for RaftLog {
    async fn append(&self, draft: Draft) -> Result<Position, AppendError> {
        let bytes = check_draft(&draft)? + FRAME_BYTES;
        let _in_flight = self.space.admit(bytes as u64).await?;
        let write = self.raft.client_write(Proposal(draft));
        let written = self.in_bounded_time(write).await.ok_or(AppendError::Unknown)?;
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
        let now = self.view.now();
        now.leading.then_some(now.term)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn stats(&self) -> LogStats {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        LogStats {
            bytes: self.log.bytes(),
            max_bytes: self.space.max_log_bytes(),
            disk_full: self.space.is_full(),
            durability: self.log.durability(),
            generation: self.generation(),
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            members: metrics.membership_config.voter_ids().map(NodeId).collect(),
            first: self.first(),
            committed: self.committed(),
        }
    }

    async fn close(&self) -> Result<(), WriteError> {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        self.peers.retain(|_| false);
        let (done, receiver) = completion();
        self.log.close(done);
        completed(receiver).await
    }
}
