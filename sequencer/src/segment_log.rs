//! A member's log on disk: entries in segments, small state in the meta file, one flush worker.
//!
//! Guarantees: a write that was called back without an error is there after any crash (with
//! [`Durability::Fsync`]), with the bytes that were given, in order, and nothing is there that was not given.
//! Entries can be read as soon as `append` returns. Damage is an error, never a shorter log.
//!
//! Leaves to others: which entries are committed, who leads, what entries mean.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::disk::{Disk, Entropy, os_entropy};
use crate::flush::{Exec, Wake};
use crate::frame::{EntryId, FRAME_BYTES, LogEntry, decode_frame};
use crate::index::{DiskRun, Found};
use crate::meta::Meta;
use crate::observe::Observers;
use crate::recovery::OpenError;
use crate::segment::HEADER_BYTES;
use crate::shared::{Op, Shared};
use crate::snapshot::SnapshotFile;
use crate::writer::{Done, Fault, WriteError, check_index};

mod opening;

/// Whether writes are synced before they are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every write is: acknowledged entries survive the loss of power.
    Fsync,
    /// None is: acknowledged entries survive the end of the process, not the loss of power. A log that was not
    /// closed gets a new generation at the next start.
    None,
}

/// How a log is kept.
#[derive(Clone)]
pub struct SegmentOptions {
    /// Whether writes are synced.
    pub durability: Durability,
    /// The size of a segment; larger ones are made for larger appends. 64 MiB.
    pub segment_bytes: u64,
    /// The payload bytes of recent entries that are kept in memory. 64 MiB.
    pub cache_bytes: usize,
    /// Where generations and nonces come from.
    pub entropy: Entropy,
    /// Who is told of writes.
    pub observer: Observers,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            segment_bytes: 64 * 1024 * 1024,
            cache_bytes: 64 * 1024 * 1024,
            entropy: os_entropy(),
            observer: None,
        }
    }
}

/// Why entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Entries below `first` were given up.
    #[error("entry {index} was purged, the log begins at {first}")]
    Purged {
        /// The entry asked for.
        index: u64,
        /// The first entry of the log.
        first: u64,
    },
    /// The disk refused to read.
    #[error("{path}: cannot read")]
    Io {
        /// The segment.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// An entry's checksum does not match.
    #[error("{path}: entry {index} is damaged")]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The entry.
        index: u64,
    },
}

/// The log.
pub struct SegmentLog {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    wake: Arc<dyn Wake>,
    durability: Durability,
}

impl SegmentLog {
    /// Opens the log on `disk`, or begins one where there is none.
    ///
    /// # Errors
    /// When files are damaged, missing or cannot be read; nothing is changed then.
    pub fn open(disk: Arc<dyn Disk>, exec: &dyn Exec, options: SegmentOptions) -> Result<Self, OpenError> {
        opening::open(disk, exec, options)
    }

    /// Appends entries that follow the log's end. They can be read when this returns and are durable when `done`
    /// is called without an error. After an error they are not in the log, unless the log has failed.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) {
        {
            let mut index = self.shared.index.lock();
            let expected = index.next();
            if let Some(entry) = (expected..).zip(&entries).find_map(|(at, e)| (e.id.index != at).then_some(e)) {
                drop(index);
                let found = entry.id.index;
                return done(Err(WriteError::Gap { expected, found }));
            }
            if let Some(Err(error)) = entries.last().map(|entry| check_index(entry.id.index)) {
                drop(index);
                return done(Err(error));
            }
            entries.iter().for_each(|entry| index.push(entry.clone()));
            // Under the lock, so that the queue has the order of the index.
            self.shared.queue(Op::Append { entries, done });
        }
        self.wake.wake();
    }

    /// Removes all entries from `from` on.
    pub fn truncate(&self, from: u64, done: Done) {
        let before = from.checked_sub(1).filter(|index| *index < self.next());
        let last = match before.map(|index| self.id_at(index)).transpose() {
            Ok(id) => id.flatten(),
            Err(error) => {
                let fault = self.shared.fail(Fault {
                    path: self.disk.path(""),
                    action: "read the entry before the cut of",
                    source: io::Error::other(error),
                });
                return done(Err(WriteError::Failed(fault)));
            }
        };
        self.run(Op::Truncate { from, last, done });
    }

    /// Gives up all entries up to and including `upto`; whole segments are removed.
    pub fn purge(&self, upto: EntryId, done: Done) {
        self.run(Op::Purge { upto, done });
    }

    /// Changes the small state; durable when `done` is called without an error.
    pub fn change_meta(&self, change: impl FnOnce(&mut Meta) + Send + 'static, done: Done) {
        self.run(Op::Meta { change: Box::new(change), done });
    }

    /// Writes a snapshot in place of an older one; durable when `done` is called without an error. A full disk leaves
    /// the older one, and the log goes on.
    pub fn write_snapshot(&self, file: SnapshotFile, done: Done) {
        self.run(Op::Snapshot { file, done });
    }

    /// Notes that entries up to `id` are committed. Reaches the disk with the next change of the small state.
    pub fn note_committed(&self, id: EntryId) {
        let mut committed = self.shared.committed.lock();
        *committed = (*committed).max(Some(id));
    }

    /// Whether frames of `bytes` in all fit without new space on the disk.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.shared.index.lock().free() >= bytes || self.shared.spare() >= bytes
    }

    /// Reserves space so that [`SegmentLog::has_room`] is true for `bytes`.
    pub fn reserve(&self, bytes: u64, done: Done) {
        self.run(Op::Prepare { bytes, done });
    }

    /// Sees to it that a snapshot of `bytes` can take the place of the log, or says that the disk is full.
    pub(crate) fn fit_snapshot(&self, bytes: u64, done: Done) {
        self.run(Op::FitSnapshot { bytes, done });
    }

    /// Makes everything durable and notes that the log was closed; refuses everything afterwards.
    pub fn close(&self, done: Done) {
        self.run(Op::Close { done });
    }

    fn run(&self, op: Op) {
        self.shared.queue(op);
        self.wake.wake();
    }

    /// Entries from `from` below `to`, in order: at most `max_bytes` of payload, but one when there is one. Empty
    /// when the log ends before `from`. Recent entries come from memory, others are read and checked.
    ///
    /// # Errors
    /// When `from` was purged, or an entry cannot be read or is damaged.
    pub fn read(&self, from: u64, to: u64, max_bytes: usize) -> Result<Vec<LogEntry>, ReadError> {
        let found = {
            let index = self.shared.index.lock();
            if from < index.first && from < to {
                return Err(ReadError::Purged { index: from, first: index.first });
            }
            index.find(from, to, max_bytes)
        };
        match found {
            None => Ok(Vec::new()),
            Some(Found::Cached(entries)) => Ok(entries),
            Some(Found::Disk(run)) => read_run(&*self.disk, &run),
        }
    }

    /// The id of the entry at `index`; `None` when there is no such entry.
    ///
    /// # Errors
    /// As [`SegmentLog::read`].
    pub fn id_at(&self, index: u64) -> Result<Option<EntryId>, ReadError> {
        if let Some(purged) = self.meta().purged.filter(|purged| purged.index == index) {
            return Ok(Some(purged));
        }
        Ok(self.read(index, index.saturating_add(1), 0)?.first().map(|entry| entry.id))
    }

    /// The first entry that was not purged.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.shared.index.lock().first
    }

    /// The index that the next entry gets.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.shared.index.lock().next()
    }

    /// The id of the last entry, or of the last purged one when there is none.
    #[must_use]
    pub fn last(&self) -> Option<EntryId> {
        self.shared.index.lock().last
    }

    /// The small state.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.shared.meta.lock().clone()
    }

    /// Bytes of all segments up to their last entry; what is reserved beyond is not counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.index.lock().bytes()
    }

    /// Whether writes are synced.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The error that ended the log.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<Fault>> {
        self.shared.fault()
    }

    /// The smallest size that a segment may have.
    #[must_use]
    pub const fn min_segment_bytes() -> u64 {
        (HEADER_BYTES + FRAME_BYTES) as u64
    }
}

/// Reads the entries of a run from the disk, and checks them.
pub(crate) fn read_run(disk: &dyn Disk, run: &DiskRun) -> Result<Vec<LogEntry>, ReadError> {
    let mut bytes = BytesMut::zeroed(run.len);
    let read = run
        .file
        .read_at(run.offset, &mut bytes)
        .map_err(|source| ReadError::Io { path: disk.path(&run.name), source })?;
    bytes.truncate(read);
    let mut rest: Bytes = bytes.freeze();
    (run.first..run.first + run.count as u64)
        .map(|index| {
            let frame = decode_frame(run.seed, &rest).filter(|frame| frame.id.index == index);
            let frame = frame.ok_or_else(|| ReadError::Damaged { path: disk.path(&run.name), index })?;
            let mut bytes = rest.split_to(frame.frame_len());
            Ok(LogEntry { id: frame.id, kind: frame.kind, payload: bytes.split_off(FRAME_BYTES) })
        })
        .collect()
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.wake.stop();
    }
}

#[cfg(test)]
mod tests;
