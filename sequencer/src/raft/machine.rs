//! openraft's state machine: the position up to which entries were delivered, and the members. What entries mean is
//! the business of whoever gets them from the sink; a start delivers the snapshot and the entries after it again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::RaftSnapshotBuilder;
use openraft::storage::{EntryResponder, RaftStateMachine};
use refrain_wire::Position;

use super::membership;
use super::snapshots::{Kept, Snapshots};
use super::types::{LogId, Payload, RaftLogEntry, Snapshot, SnapshotMeta, StoredMembers, Types, from_log_id};
use crate::log::{CommitSink, Delivery};
use crate::segment_log::SegmentLog;

/// Delivers committed entries.
pub(crate) struct Machine {
    pub(crate) applied: Option<LogId>,
    pub(crate) members: StoredMembers,
    pub(crate) committed: Arc<AtomicU64>,
    /// Entries before it are not delivered.
    pub(crate) deliver_from: Position,
    pub(crate) sink: CommitSink,
    pub(crate) log: Arc<SegmentLog>,
    pub(crate) snapshots: Arc<Snapshots>,
}

impl Machine {
    /// Delivers one committed entry, which must follow the one before.
    pub(crate) fn apply_one(&mut self, entry: RaftLogEntry) {
        self.applied = Some(entry.id);
        let position = Position(entry.id.index);
        self.committed.store(position.0, Ordering::Release);
        match entry.payload {
            Payload::Batches(bytes) if position >= self.deliver_from => {
                (self.sink)(Delivery::Entry { position, bytes: &bytes });
            }
            Payload::Membership(members) => {
                self.members = StoredMembers::new(Some(entry.id), members);
                self.snapshots.note_members(self.members.clone());
            }
            Payload::Batches(_) | Payload::Blank => {}
            Payload::Draft(_) => unreachable!("entries are read from the log, which holds no drafts"),
        }
    }

    /// Delivers the snapshot, which stands for all entries before it.
    pub(crate) fn apply_snapshot(&mut self, kept: &Kept) {
        let position = kept.position();
        self.applied = kept.last();
        self.members = kept.meta.last_membership.clone();
        self.committed.store(position.0, Ordering::Release);
        if position >= self.deliver_from {
            (self.sink)(Delivery::Snapshot { position, state: &kept.state });
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembers)> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.apply_one(entry);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        self.snapshots.current().map(|kept| Builder(Some(kept)))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(self.snapshots.current())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, state: Bytes) -> io::Result<()> {
        let members = &meta.last_membership;
        if let Some(id) = members.log_id() {
            // Before the snapshot, as with entries; nobody waits, since writes are done in order.
            let bytes = membership::encode_stored(from_log_id(id), members.membership());
            self.log.change_meta(move |meta| meta.membership = bytes, Box::new(|_| {}));
        }
        let kept = Kept { meta: meta.clone(), state };
        self.snapshots.keep(kept.clone()).await.map_err(io::Error::other)?;
        self.apply_snapshot(&kept);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshots.current().map(|kept| kept.snapshot()))
    }
}

/// Hands out the snapshot that is on disk already.
pub(crate) struct Builder(Option<Kept>);

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let kept = self.0.as_ref().map(Kept::snapshot);
        kept.ok_or_else(|| io::Error::other("the log has no snapshot"))
    }
}
