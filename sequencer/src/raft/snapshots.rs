//! What stands for the entries that were cut off: the newest snapshot, and the members at each point since.
//!
//! A snapshot is made by [`RaftLog::cut`], from what the caller knows of the state, or comes from the leader. It is on
//! disk before openraft hears of it and before any entry goes.

use std::sync::Arc;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use refrain_wire::Position;

use super::RaftLog;
use super::cursor::Cursor;
use super::message::{put_meta, take_meta};
use super::storage::{completed, completion};
use super::types::{LogId, Snapshot, SnapshotMeta, StoredMembers, to_log_id};
use crate::log::{OrderedLog, ReadError};
use crate::segment_log::SegmentLog;
use crate::snapshot::{MAX_SNAPSHOT_BYTES, SnapshotFile};
use crate::writer::WriteError;

/// Why the log was not cut. Nothing was given up then.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The state would stand for entries that may change yet.
    #[error("position {position} is not committed, only {committed} is")]
    NotCommitted {
        /// Where to cut.
        position: Position,
        /// The last committed position.
        committed: Position,
    },
    /// The state is too large.
    #[error("the shard's state has {bytes} bytes, the limit is {MAX_SNAPSHOT_BYTES}: entries are kept instead")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The entry at the position cannot be read.
    #[error("the entry at the position of the cut cannot be read")]
    Read(#[from] ReadError),
    /// The snapshot cannot be written.
    #[error("the snapshot cannot be written")]
    Write(#[from] WriteError),
    /// The log has ended.
    #[error("the log has ended")]
    Ended,
}

/// A snapshot and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) meta: SnapshotMeta,
    pub(crate) state: Bytes,
}

impl Kept {
    pub(crate) fn last(&self) -> Option<LogId> {
        self.meta.last_log_id
    }

    pub(crate) fn position(&self) -> Position {
        Position(self.last().map_or(0, |id| id.index))
    }

    fn file(&self) -> SnapshotFile {
        let mut head = Vec::new();
        put_meta(&mut head, &self.meta);
        SnapshotFile { head: Bytes::from(head), state: self.state.clone() }
    }

    /// The snapshot in a file; `None` when its head makes no sense.
    pub(crate) fn from_file(file: SnapshotFile) -> Option<Self> {
        let mut cursor = Cursor::new(&file.head);
        let meta = take_meta(&mut cursor)?;
        cursor.end()?;
        Some(Self { meta, state: file.state })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { meta: self.meta.clone(), snapshot: self.state.clone() }
    }
}

/// The newest snapshot of a log; shared by the log and openraft's state machine.
pub(crate) struct Snapshots {
    log: Arc<SegmentLog>,
    current: Mutex<Option<Kept>>,
    /// The members at the snapshot, and every change that was applied since, in order.
    members: Mutex<Vec<StoredMembers>>,
    writing: tokio::sync::Mutex<()>,
}

impl Snapshots {
    pub(crate) fn new(log: Arc<SegmentLog>, current: Option<Kept>) -> Self {
        let members = current.iter().map(|kept| kept.meta.last_membership.clone()).collect();
        let writing = tokio::sync::Mutex::default();
        Self { log, current: Mutex::new(current), members: Mutex::new(members), writing }
    }

    pub(crate) fn current(&self) -> Option<Kept> {
        self.current.lock().clone()
    }

    /// Notes a change of the members that was applied.
    pub(crate) fn note_members(&self, members: StoredMembers) {
        self.members.lock().push(members);
    }

    /// The members at a position.
    fn members_at(&self, position: Position) -> Option<StoredMembers> {
        let members = self.members.lock();
        members.iter().rfind(|stored| stored.log_id().is_some_and(|id| id.index <= position.0)).cloned()
    }

    /// Makes a snapshot durable and the current one, unless there is a newer one.
    pub(crate) async fn keep(&self, kept: Kept) -> Result<(), WriteError> {
        let _one_at_a_time = self.writing.lock().await;
        if self.current().is_some_and(|current| current.last() >= kept.last()) {
            return Ok(());
        }
        let (done, receiver) = completion();
        self.log.write_snapshot(kept.file(), done);
        completed(receiver).await?;
        let last = kept.last();
        let mut members = self.members.lock();
        members.retain(|stored| *stored.log_id() > last);
        members.insert(0, kept.meta.last_membership.clone());
        *self.current.lock() = Some(kept);
        Ok(())
    }
}

impl RaftLog {
    /// The state that stands for the entries that were cut off, and the position of the last one; none when the log
    /// still begins at its beginning.
    #[must_use]
    pub fn snapshot(&self) -> Option<(Position, Bytes)> {
        self.snapshots.current().map(|kept| (kept.position(), kept.state))
    }

    /// Lets `state` stand for everything up to and including `position`: it becomes a snapshot, durable when this
    /// returns, and the entries are given up soon afterwards. Each member does so for itself; one that lags gets
    /// snapshots from the leader. A position before the last cut changes nothing. May be dropped and called again.
    ///
    /// # Errors
    /// When the position is not committed, or the snapshot cannot be written.
    pub async fn cut(&self, position: Position, state: Bytes) -> Result<(), CutError> {
        let committed = self.committed();
        if position > committed {
            return Err(CutError::NotCommitted { position, committed });
        }
        if state.len() as u64 > MAX_SNAPSHOT_BYTES {
            return Err(CutError::TooLarge { bytes: state.len() as u64 });
        }
        if position <= self.snapshots.current().map_or(Position(0), |kept| kept.position()) {
            return Ok(());
        }
        let id = self.log.id_at(position.0)?.map(to_log_id).ok_or(CutError::Ended)?;
        let last_membership = self.snapshots.members_at(position).unwrap_or_default();
        let meta = SnapshotMeta { last_log_id: Some(id), last_membership };
        self.snapshots.keep(Kept { meta, state }).await?;
        self.announce(id).await
    }

    /// Tells openraft of the snapshot, and with it that what lies before it may go.
    async fn announce(&self, id: LogId) -> Result<(), CutError> {
        let mut data = self.raft.data_metrics();
        while data.borrow_watched().snapshot < Some(id) {
            self.raft.trigger().snapshot().await.map_err(|_| CutError::Ended)?;
            // Without a change the snapshot of another cut was under way: it is asked for again.
            if let Ok(changed) = tokio::time::timeout(self.lease(), data.changed()).await {
                changed.map_err(|_| CutError::Ended)?;
            }
        }
        Ok(())
    }
}
