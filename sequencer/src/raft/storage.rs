//! The segment log as openraft's log storage.
//!
//! Appends return at once and are called back after their sync. Votes are durable when saved. `save_committed`
//! only notes: the committed position reaches the disk with the next vote or at closing, since a sync for it at
//! every commit would double the cost of an append, and a start needs it only as a lower bound.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use refrain_wire::NodeId;
use tokio::sync::oneshot;

use super::membership;
use super::types::{LeaderId, LogId, Payload, RaftLogEntry, Types, Vote, from_log_id, to_log_id};
use crate::frame::EntryId;
use crate::meta;
use crate::segment_log::SegmentLog;
use crate::writer::{Done, WriteError};

/// The payload bytes that one replication message carries at most.
const REPLICATION_BYTES: usize = 1024 * 1024;

/// The log storage of one member.
#[derive(Clone)]
pub(crate) struct RaftStore {
    pub(crate) log: Arc<SegmentLog>,
    pub(crate) node: NodeId,
    /// Elections that this member began.
    pub(crate) elections: Arc<AtomicU64>,
}

/// A callback, and the future that it completes.
pub(crate) fn completion() -> (Done, oneshot::Receiver<Result<(), WriteError>>) {
    let (sender, receiver) = oneshot::channel();
    // When nobody waits any more, the outcome is of no use.
    (Box::new(move |outcome| drop(sender.send(outcome))), receiver)
}

/// Waits for a write; a log that went away without calling back was closed.
pub(crate) async fn completed(receiver: oneshot::Receiver<Result<(), WriteError>>) -> Result<(), WriteError> {
    receiver.await.unwrap_or(Err(WriteError::Closed))
}

impl RaftStore {
    fn entries(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<RaftLogEntry>> {
        let entries = self.log.read(from, to, max_bytes).map_err(io::Error::other)?;
        let converted: Option<Vec<_>> = entries.into_iter().map(RaftLogEntry::from_log_entry).collect();
        converted.ok_or_else(|| io::Error::other("an entry's members cannot be decoded"))
    }

    async fn change_meta(&self, change: impl FnOnce(&mut meta::Meta) + Send + 'static) -> io::Result<()> {
        let (done, receiver) = completion();
        self.log.change_meta(change, done);
        completed(receiver).await.map_err(io::Error::other)
    }
}

impl RaftLogReader<Types> for RaftStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftLogEntry>> {
        let mut from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        from = from.max(self.log.first());
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        let mut entries = Vec::new();
        while from < to {
            let run = self.entries(from, to, usize::MAX)?;
            if run.is_empty() {
                break;
            }
            from += run.len() as u64;
            entries.extend(run);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftLogEntry>> {
        self.entries(start, end, REPLICATION_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.meta().vote.map(|vote| {
            let mut read = Vote::new(vote.term, vote.node);
            read.committed = vote.committed;
            read
        }))
    }
}

impl RaftLogStorage<Types> for RaftStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        Ok(LogState {
            last_purged_log_id: self.log.meta().purged.map(to_log_id),
            last_log_id: self.log.last().map(to_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let LeaderId { term, voted_for } = vote.leader_id;
        if voted_for == self.node.0 && !vote.committed {
            self.elections.fetch_add(1, Ordering::Relaxed);
        }
        let vote = meta::Vote { term, node: voted_for, committed: vote.committed };
        self.change_meta(move |meta| meta.vote = Some(vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(id) = &committed {
            self.log.note_committed(from_log_id(id));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.meta().committed.map(to_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftLogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut converted = Vec::new();
        for entry in entries {
            if let Payload::Membership(members) = &entry.payload {
                // Before the entry, so that what the meta file says of members is never older than the log. Nobody
                // waits: writes are done in order, and one that fails ends the log.
                let bytes = membership::encode_stored(from_log_id(&entry.id), members);
                self.log.change_meta(move |meta| meta.membership = bytes, Box::new(|_| {}));
            }
            converted.push(entry.into_log_entry());
        }
        self.log.append(converted, Box::new(move |outcome| callback.io_completed(outcome.map_err(io::Error::other))));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let (done, receiver) = completion();
        self.log.truncate(last.map_or(0, |id| id.index + 1), done);
        completed(receiver).await.map_err(io::Error::other)
    }

    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        let (done, receiver) = completion();
        self.log.purge(from_log_id(&id), done);
        completed(receiver).await.map_err(io::Error::other)
    }
}

/// The last entry that is certainly committed. A member that votes alone has committed all that it holds.
pub(crate) fn known_committed(log: &SegmentLog, node: NodeId) -> Option<EntryId> {
    if votes_alone(log, node) { log.last() } else { log.meta().committed }
}

/// Whether this member is the only one whose vote counts.
pub(crate) fn votes_alone(log: &SegmentLog, node: NodeId) -> bool {
    membership::stored(&log.meta().membership).is_some_and(|(id, members)| {
        // What was given up was committed.
        let purged = log.meta().purged.is_some_and(|purged| id.index <= purged.index);
        let stands = purged || log.id_at(id.index).is_ok_and(|found| found == Some(id));
        stands && members.voter_ids().eq([node.0])
    })
}
