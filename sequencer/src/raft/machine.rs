//! openraft's state machine: the position up to which entries were delivered, and the members. What entries mean
//! is the business of whoever gets them from the sink, so there is nothing to snapshot: a start delivers the log
//! again.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{
    ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftSnapshotBuilder, SnapshotMeta, StorageError, StorageIOError,
    StoredMembership,
};
use refrain_wire::Position;

use super::types::{Member, Payload, RaftLogEntry, Types};
use crate::log::CommitSink;

type Result<T> = std::result::Result<T, StorageError<u64>>;

/// Delivers committed entries.
pub(crate) struct Machine {
    pub(crate) applied: Option<LogId<u64>>,
    pub(crate) members: StoredMembership<u64, Member>,
    pub(crate) committed: Arc<AtomicU64>,
    /// Entries before it are not delivered.
    pub(crate) deliver_from: Position,
    pub(crate) sink: CommitSink,
}

impl Machine {
    /// Delivers one committed entry, which must follow the one before.
    pub(crate) fn apply_one(&mut self, entry: RaftLogEntry) {
        self.applied = Some(entry.id);
        let position = Position(entry.id.index);
        self.committed.store(position.0, Ordering::Release);
        match entry.payload {
            Payload::Batches(bytes) if position >= self.deliver_from => (self.sink)(position, &bytes),
            Payload::Membership(members) => self.members = StoredMembership::new(Some(entry.id), members),
            Payload::Batches(_) | Payload::Blank => {}
            Payload::Draft(_) => unreachable!("entries are read from the log, which holds no drafts"),
        }
    }
}

fn no_snapshots() -> StorageError<u64> {
    let error = io::Error::from(io::ErrorKind::Unsupported);
    StorageIOError::new(ErrorSubject::Snapshot(None), ErrorVerb::Read, openraft::AnyError::new(&error)).into()
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = NoSnapshots;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, StoredMembership<u64, Member>)> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>>
    where
        I: IntoIterator<Item = RaftLogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        Ok(entries.into_iter().map(|entry| self.apply_one(entry)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshots {
        NoSnapshots
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>> {
        Err(no_snapshots())
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta<u64, Member>,
        _snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<()> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>> {
        Ok(None)
    }
}

/// Refuses: the log is never purged, so nobody needs a snapshot.
pub(crate) struct NoSnapshots;

impl RaftSnapshotBuilder<Types> for NoSnapshots {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>> {
        Err(no_snapshots())
    }
}
