//! The contract of an ordered log: drafts go in, entries with positions come out, the same for everyone.
//!
//! Order: positions rise; every reader and the sink see the same entries at the same positions. Positions have
//! gaps where the log keeps entries of its own.
//! Durability: an entry is committed when its append returns, and stays (as far as [`Durability`] promises).
//! Uncertainty: an append that fails with [`AppendError::Unknown`] or a fatal error, or whose future is dropped, may
//! still be committed. With every other error it is not. An append never waits for a majority for ever.
//! Delivery: the sink gets every committed entry exactly once and in order, as a plain call on the thread that
//! runs the log, before the append of that entry returns; after a start it gets all earlier ones first, before
//! the log is handed out. Where the log was cut, the state that stands for what is gone comes in its place.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use crate::watch;
use bytes::Bytes;
use refrain_wire::batch::BATCH_FRAME_BYTES;
use refrain_wire::entry::Draft;
use refrain_wire::limits::{MAX_BATCHES_PER_ENTRY, MAX_ENTRY_BYTES, MAX_SUBMISSIONS_PER_ENTRY};
use refrain_wire::{Generation, NodeId, Position};

pub use crate::segment_log::{Durability, ReadError};
use crate::writer::{Fault, WriteError};

/// What a log delivers.
#[derive(Debug, Clone, Copy)]
pub enum Delivery<'a> {
    /// A state that stands for everything up to and including `position`, in place of the entries before. It comes
    /// first after a start, or later when this member lagged so far behind that the others had cut the log.
    Snapshot {
        /// Where it stands.
        position: Position,
        /// The state, as it was given when the log was cut.
        state: &'a Bytes,
    },
    /// A committed entry.
    Entry {
        /// Its position.
        position: Position,
        /// Its bytes.
        bytes: &'a Bytes,
    },
}

/// Gets every committed entry, in order. It must not block.
pub type CommitSink = Arc<dyn Fn(Delivery<'_>) + Send + Sync>;

/// An ordered log.
pub trait OrderedLog: Send + Sync + 'static {
    /// Appends a draft; returns its position once it is committed. Several appends may be on their way, and are
    /// ordered as they were first polled. Dropping the future does not take the draft back.
    fn append(&self, draft: Draft) -> impl Future<Output = Result<Position, AppendError>> + Send;
    /// The highest committed position; 0 when there is none.
    fn committed(&self) -> Position;
    /// The first position that can be read.
    fn first(&self) -> Position;
    /// Committed entries from `from` on, in order: at most `max_bytes`, but one when there is one.
    ///
    /// # Errors
    /// When entries were given up, or cannot be read back as they were written.
    fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<(Position, Bytes)>, ReadError>;
    /// The identity of the log's history.
    fn generation(&self) -> Generation;
    /// The term in which this member leads; `None` when it does not, or cannot prove it: it leads when it has applied
    /// everything that earlier leaders ordered, and a majority acknowledged it lately. A term has one leader, and
    /// every start is a new term.
    fn leading(&self) -> Option<u64>;
    /// Who leads, told at every change. The watch ends when the log has failed.
    fn leadership(&self) -> watch::Receiver<Leadership>;
    /// Sizes and members, for status.
    fn stats(&self) -> LogStats;
    /// Makes everything durable and notes that the log was closed. Appends fail afterwards.
    fn close(&self) -> impl Future<Output = Result<(), WriteError>> + Send;
}

impl<L: OrderedLog> OrderedLog for Arc<L> {
    fn append(&self, draft: Draft) -> impl Future<Output = Result<Position, AppendError>> + Send {
        L::append(self, draft)
    }

    fn committed(&self) -> Position {
        L::committed(self)
    }

    fn first(&self) -> Position {
        L::first(self)
    }

    fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<(Position, Bytes)>, ReadError> {
        L::read(self, from, max_bytes)
    }

    fn generation(&self) -> Generation {
        L::generation(self)
    }

    fn leading(&self) -> Option<u64> {
        L::leading(self)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        L::leadership(self)
    }

    fn stats(&self) -> LogStats {
        L::stats(self)
    }

    fn close(&self) -> impl Future<Output = Result<(), WriteError>> + Send {
        L::close(self)
    }
}

/// Who leads a log, as this member sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The current term.
    pub term: u64,
    /// The member that leads; `None` when none is known.
    pub leader: Option<NodeId>,
    /// Whether this member leads, as [`OrderedLog::leading`] says it.
    pub leading: bool,
}

/// What status shows of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStats {
    /// Bytes of entries on disk, with their frames.
    pub bytes: u64,
    /// The most that there may be; `None` without a limit.
    pub max_bytes: Option<u64>,
    /// The disk had no room when something was last to be written.
    pub disk_full: bool,
    /// Whether acknowledged entries survive the loss of power.
    pub durability: Durability,
    /// The identity of the log's history.
    pub generation: Generation,
    /// The current term.
    pub term: u64,
    /// The member that leads.
    pub leader: Option<NodeId>,
    /// All voting members.
    pub members: Vec<NodeId>,
    /// The first position that can be read.
    pub first: Position,
    /// The highest committed position.
    pub committed: Position,
}

/// Why a draft was not appended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The draft does not fit into an entry.
    #[error("the draft's {what} is {value}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        value: usize,
        /// The most allowed.
        limit: usize,
    },
    /// The log has reached its limit. Nothing was written.
    #[error("the log has {bytes} of at most {max_bytes} bytes, {needed_bytes} more are needed")]
    Full {
        /// Its size.
        bytes: u64,
        /// The limit (`max_log_bytes`).
        max_bytes: u64,
        /// What the draft needs.
        needed_bytes: u64,
    },
    /// The disk has no space. Nothing was written; the log goes on when there is some.
    #[error("{path}: the disk is full, {needed_bytes} bytes are needed")]
    DiskFull {
        /// The file that could not get its space.
        path: PathBuf,
        /// How many bytes it needs.
        needed_bytes: u64,
    },
    /// This member does not lead. The draft was not appended here.
    #[error("this member does not lead the log")]
    NotLeader {
        /// Who does, when that is known.
        leader: Option<NodeId>,
    },
    /// This member was the leader, but no majority of members answers it. Nothing was appended.
    #[error("no majority of members answers the leader, nothing can be ordered")]
    NoQuorum,
    /// The draft was appended, but this member cannot tell whether it will be committed: it lost the lead or the
    /// majority before the draft was acknowledged.
    #[error("the leader lost its office or its majority; the draft may be committed or not")]
    Unknown,
    /// The log failed, now or earlier. The draft may be committed or not.
    #[error("the log has failed and takes nothing more")]
    Failed(#[source] Arc<Fault>),
    /// The log was closed. The draft may be committed or not.
    #[error("the log is closed")]
    Closed,
}

impl AppendError {
    /// Whether every later append will fail as well.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Closed)
    }
}

impl From<WriteError> for AppendError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::DiskFull { path, needed_bytes } => Self::DiskFull { path, needed_bytes },
            WriteError::Failed(fault) => Self::Failed(fault),
            WriteError::Closed | WriteError::Gap { .. } | WriteError::BeyondEnd { .. } => Self::Closed,
        }
    }
}

/// How many bytes the draft has as an entry.
#[must_use]
pub fn encoded_bytes(draft: &Draft) -> usize {
    let batches: usize = draft.batches.iter().map(|batch| BATCH_FRAME_BYTES + batch.records.len()).sum();
    2 + 12 * draft.submissions.len() + batches
}

/// Checks a draft against the limits of an entry; returns its encoded size.
pub(crate) fn check_draft(draft: &Draft) -> Result<usize, AppendError> {
    let bytes = encoded_bytes(draft);
    let limits = [
        ("number of submissions", draft.submissions.len(), MAX_SUBMISSIONS_PER_ENTRY),
        ("number of batches", draft.batches.len(), MAX_BATCHES_PER_ENTRY),
        ("size in bytes", bytes, MAX_ENTRY_BYTES),
    ];
    match limits.into_iter().find(|(_, value, limit)| value > limit) {
        Some((what, value, limit)) => Err(AppendError::TooLarge { what, value, limit }),
        None => Ok(bytes),
    }
}

type LocalSinks = HashMap<u64, Rc<dyn Fn(Delivery<'_>)>>;

thread_local! {
    static LOCAL_SINKS: std::cell::RefCell<(u64, LocalSinks)> = std::cell::RefCell::default();
}

/// Keeps a [`local_sink`] alive; entries that are committed after it is dropped are not delivered.
#[derive(Debug)]
pub struct LocalSink(u64);

impl Drop for LocalSink {
    fn drop(&mut self) {
        // At the end of the thread the table may be gone already, and the sink with it.
        let removed = LOCAL_SINKS.try_with(|sinks| sinks.borrow_mut().1.remove(&self.0));
        drop(removed);
    }
}

/// A sink for a log whose runtime is this thread, for a receiver that cannot leave it.
///
/// # Panics
/// The sink panics when it is called on another thread: the log was opened on the wrong runtime.
pub fn local_sink(receiver: impl Fn(Delivery<'_>) + 'static) -> (CommitSink, LocalSink) {
    let home = std::thread::current().id();
    let id = LOCAL_SINKS.with_borrow_mut(|(next, sinks)| {
        *next += 1;
        sinks.insert(*next, Rc::new(receiver));
        *next
    });
    let sink = move |delivery: Delivery<'_>| {
        assert_eq!(std::thread::current().id(), home, "the log runs on the thread of its sink");
        let receiver = LOCAL_SINKS.with_borrow(|(_, sinks)| sinks.get(&id).cloned());
        if let Some(receiver) = receiver {
            receiver(delivery);
        }
    };
    (Arc::new(sink), LocalSink(id))
}
