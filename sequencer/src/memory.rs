//! An ordered log in memory, for tests and simulations: committed when appended, gone with the process.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::watch;
use bytes::Bytes;
use parking_lot::Mutex;
use refrain_wire::entry::Draft;
use refrain_wire::{Generation, NodeId, Position};

use crate::log::{
    AppendError, CommitSink, Delivery, Durability, Leadership, LogStats, OrderedLog, ReadError, check_draft,
};
use crate::writer::WriteError;

#[derive(Default)]
struct Content {
    entries: Vec<Bytes>,
    bytes: u64,
    closed: bool,
}

/// The log.
pub struct MemoryLog {
    content: Mutex<Content>,
    delivering: Mutex<()>,
    committed: AtomicU64,
    sink: CommitSink,
    generation: Generation,
    max_bytes: Option<u64>,
    leadership: watch::Sender<Leadership>,
}

impl MemoryLog {
    /// An empty log that may hold up to `max_bytes` of entries.
    #[must_use]
    pub fn new(generation: Generation, max_bytes: Option<u64>, sink: CommitSink) -> Self {
        Self {
            content: Mutex::default(),
            delivering: Mutex::default(),
            committed: AtomicU64::new(0),
            sink,
            generation,
            max_bytes,
            leadership: watch::Sender::new(Leadership { term: 1, leader: Some(NodeId(1)), leading: true }),
        }
    }

    fn push(&self, draft: &Draft) -> Result<Position, AppendError> {
        let needed_bytes = check_draft(draft)? as u64;
        let _in_order = self.delivering.lock();
        let (position, entry) = {
            let mut content = self.content.lock();
            if content.closed {
                return Err(AppendError::Closed);
            }
            if let Some(max_bytes) = self.max_bytes.filter(|max| content.bytes + needed_bytes > *max) {
                return Err(AppendError::Full { bytes: content.bytes, max_bytes, needed_bytes });
            }
            let position = Position(content.entries.len() as u64 + 1);
            let entry = draft.encode(position);
            content.bytes += needed_bytes;
            content.entries.push(entry.clone());
            (position, entry)
        };
        self.committed.store(position.0, Ordering::Release);
        (self.sink)(Delivery::Entry { position, bytes: &entry });
        Ok(position)
    }
}

impl OrderedLog for MemoryLog {
    async fn append(&self, draft: Draft) -> Result<Position, AppendError> {
        self.push(&draft)
    }

    fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Acquire))
    }

    fn first(&self) -> Position {
        Position(1)
    }

    fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<(Position, Bytes)>, ReadError> {
        let content = self.content.lock();
        let skip = from.0.max(1) - 1;
        let mut bytes = 0;
        let run = content.entries.iter().enumerate().skip(skip as usize).take_while(|(n, entry)| {
            bytes += entry.len();
            *n as u64 == skip || bytes <= max_bytes
        });
        Ok(run.map(|(n, entry)| (Position(n as u64 + 1), entry.clone())).collect())
    }

    fn generation(&self) -> Generation {
        self.generation
    }

    fn leading(&self) -> Option<u64> {
        Some(1)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn stats(&self) -> LogStats {
        LogStats {
            bytes: self.content.lock().bytes,
            max_bytes: self.max_bytes,
            disk_full: false,
            durability: Durability::None,
            generation: self.generation,
            term: 1,
            leader: Some(NodeId(1)),
            members: vec![NodeId(1)],
            first: self.first(),
            committed: self.committed(),
        }
    }

    async fn close(&self) -> Result<(), WriteError> {
        self.content.lock().closed = true;
        Ok(())
    }
}
