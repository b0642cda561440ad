//! What the users of a log and its flush worker share.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::frame::{EntryId, LogEntry};
use crate::index::Index;
use crate::meta::Meta;
use crate::snapshot::SnapshotFile;
use crate::writer::{Done, Fault};

/// One piece of work for the flush worker.
pub(crate) enum Op {
    Append {
        entries: Vec<LogEntry>,
        done: Done,
    },
    Prepare {
        bytes: u64,
        done: Done,
    },
    /// Sees to it that a snapshot of so many bytes can take the place of the log.
    FitSnapshot {
        bytes: u64,
        done: Done,
    },
    Truncate {
        from: u64,
        last: Option<EntryId>,
        done: Done,
    },
    Purge {
        upto: EntryId,
        done: Done,
    },
    Meta {
        change: Box<dyn FnOnce(&mut Meta) + Send>,
        done: Done,
    },
    Snapshot {
        file: SnapshotFile,
        done: Done,
    },
    Close {
        done: Done,
    },
}

pub(crate) struct Shared {
    queue: Mutex<Vec<Op>>,
    pub(crate) index: Mutex<Index>,
    pub(crate) meta: Mutex<Meta>,
    /// The newest entry known to be committed; reaches the disk with the next change of the meta file.
    pub(crate) committed: Mutex<Option<EntryId>>,
    /// Bytes of frames that the reserved next segment can take.
    spare: AtomicU64,
    fault: OnceLock<Arc<Fault>>,
}

impl Shared {
    pub(crate) fn new(index: Index, meta: Meta) -> Self {
        Self {
            queue: Mutex::default(),
            index: Mutex::new(index),
            committed: Mutex::new(meta.committed),
            meta: Mutex::new(meta),
            spare: AtomicU64::new(0),
            fault: OnceLock::new(),
        }
    }

    pub(crate) fn queue(&self, op: Op) {
        self.queue.lock().push(op);
    }

    pub(crate) fn take(&self) -> Vec<Op> {
        std::mem::take(&mut *self.queue.lock())
    }

    pub(crate) fn fault(&self) -> Option<Arc<Fault>> {
        self.fault.get().cloned()
    }

    /// Keeps the first fault, and returns it.
    pub(crate) fn fail(&self, fault: Fault) -> Arc<Fault> {
        let first = self.fault.get().is_none();
        let kept = self.fault.get_or_init(|| Arc::new(fault)).clone();
        if first {
            tracing::error!(path = %kept.path.display(), action = kept.action, error = %kept.source, "the log has failed");
        }
        kept
    }

    pub(crate) fn spare(&self) -> u64 {
        self.spare.load(Ordering::Acquire)
    }

    pub(crate) fn set_spare(&self, bytes: u64) {
        self.spare.store(bytes, Ordering::Release);
    }
}
