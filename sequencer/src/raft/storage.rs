//! The segment log as openraft's log storage.
//!
//! Appends return at once and are called back after their sync. Votes are durable when saved. `save_committed`
//! only notes: the committed position reaches the disk with the next vote or at closing, since a sync for it at
//! every commit would double the cost of an append, and a start needs it only as a lower bound.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote};
use tokio::sync::oneshot;

use super::membership;
use super::types::{Payload, RaftLogEntry, Types, from_log_id, to_log_id};
use crate::frame::EntryId;
use crate::meta;
use crate::segment_log::SegmentLog;
use crate::writer::{Done, WriteError};

/// The payload bytes that one replication message carries at most.
const REPLICATION_BYTES: usize = 1024 * 1024;

type Result<T> = std::result::Result<T, StorageError<u64>>;

/// The log storage of one member.
#[derive(Clone)]
pub(crate) struct RaftStore {
    pub(crate) log: Arc<SegmentLog>,
    pub(crate) node: u64,
}

fn storage_error(
    subject: ErrorSubject<u64>,
    verb: ErrorVerb,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StorageError<u64> {
    StorageIOError::new(subject, verb, openraft::AnyError::new(&error)).into()
}

/// A callback, and the future that it completes.
pub(crate) fn completion() -> (Done, oneshot::Receiver<std::result::Result<(), WriteError>>) {
    let (sender, receiver) = oneshot::channel();
    // When nobody waits any more, the outcome is of no use.
    (Box::new(move |outcome| drop(sender.send(outcome))), receiver)
}

/// Waits for a write; a log that went away without calling back was closed.
pub(crate) async fn completed(
    receiver: oneshot::Receiver<std::result::Result<(), WriteError>>,
) -> std::result::Result<(), WriteError> {
    receiver.await.unwrap_or(Err(WriteError::Closed))
}

impl RaftStore {
    #[expect(clippy::result_large_err, reason = "the error is openraft's")]
    fn entries(&self, from: u64, to: u64, max_bytes: usize) -> Result<Vec<RaftLogEntry>> {
        let read = self.log.read(from, to, max_bytes);
        let entries = read.map_err(|error| storage_error(ErrorSubject::Logs, ErrorVerb::Read, error))?;
        let converted: Option<Vec<_>> = entries.into_iter().map(RaftLogEntry::from_log_entry).collect();
        converted.ok_or_else(|| {
            let error = io::Error::other("an entry's members cannot be decoded");
            storage_error(ErrorSubject::Logs, ErrorVerb::Read, error)
        })
    }

    async fn change_meta(&self, change: impl FnOnce(&mut meta::Meta) + Send + 'static) -> Result<()> {
        let (done, receiver) = completion();
        self.log.change_meta(change, done);
        let outcome = completed(receiver).await;
        outcome.map_err(|error| storage_error(ErrorSubject::Vote, ErrorVerb::Write, error))
    }
}

impl RaftLogReader<Types> for RaftStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftLogEntry>> {
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

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftLogEntry>> {
        self.entries(start, end, REPLICATION_BYTES)
    }
}

impl RaftLogStorage<Types> for RaftStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>> {
        Ok(LogState {
            last_purged_log_id: self.log.meta().purged.map(to_log_id),
            last_log_id: self.log.last().map(to_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<()> {
        let vote = meta::Vote { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed };
        self.change_meta(move |meta| meta.vote = Some(vote)).await
    }

    /// A member that led is not given its own victory back: it must be elected again, so that every start has a
    /// term of its own. That is safe, because the vote itself is kept.
    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>> {
        Ok(self.log.meta().vote.map(|vote| {
            let mut read = Vote::new(vote.term, vote.node);
            read.committed = vote.committed && vote.node != self.node;
            read
        }))
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<()> {
        if let Some(id) = &committed {
            self.log.note_committed(from_log_id(id));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>> {
        Ok(self.log.meta().committed.map(to_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<()>
    where
        I: IntoIterator<Item = RaftLogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut converted = Vec::new();
        for entry in entries {
            if let Payload::Membership(members) = &entry.payload {
                // Before the entry, so that what the meta file says of members is never older than the log.
                let bytes = encode_stored(from_log_id(&entry.id), members);
                self.change_meta(move |meta| meta.membership = bytes).await?;
            }
            converted.push(entry.into_log_entry());
        }
        self.log
            .append(converted, Box::new(move |outcome| callback.log_io_completed(outcome.map_err(io::Error::other))));
        Ok(())
    }

    async fn truncate(&mut self, id: LogId<u64>) -> Result<()> {
        let (done, receiver) = completion();
        self.log.truncate(id.index, done);
        let outcome = completed(receiver).await;
        outcome.map_err(|error| storage_error(ErrorSubject::Log(id), ErrorVerb::Delete, error))
    }

    async fn purge(&mut self, id: LogId<u64>) -> Result<()> {
        let (done, receiver) = completion();
        self.log.purge(from_log_id(&id), done);
        let outcome = completed(receiver).await;
        outcome.map_err(|error| storage_error(ErrorSubject::Log(id), ErrorVerb::Delete, error))
    }
}

fn encode_stored(id: EntryId, members: &super::types::Members) -> bytes::Bytes {
    let mut out = Vec::new();
    for field in [id.term, id.node, id.index] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&membership::encode(members));
    bytes::Bytes::from(out)
}

/// The last entry that is certainly committed. A member that votes alone has committed all that it holds.
pub(crate) fn known_committed(log: &SegmentLog, node: u64) -> Option<EntryId> {
    let meta = log.meta();
    let alone = meta.membership.split_at_checked(24).is_some_and(|(id, members)| {
        let id = EntryId {
            term: crate::frame::u64_at(id, 0),
            node: crate::frame::u64_at(id, 8),
            index: crate::frame::u64_at(id, 16),
        };
        let stands = log.id_at(id.index).is_ok_and(|found| found == Some(id));
        let members = membership::decode(members);
        let only = |members: super::types::Members| members.voter_ids().collect::<Vec<_>>() == [node];
        stands && members.is_some_and(only)
    });
    if alone { log.last() } else { meta.committed }
}
