//! What a log lets its owner see of its work: when entries were written, synced and taken by other members.
//!
//! Without an observer no clock is read. An observer is called on the thread that did the work, with nothing locked; it
//! must not block.

use std::sync::Arc;
use std::time::Instant;

use refrain_wire::NodeId;

/// One write of entries to this member's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The first index.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// When the write began.
    pub began: Instant,
    /// When it was done.
    pub written: Instant,
    /// When it was synced; none without syncs.
    pub synced: Option<Instant>,
}

/// Entries that another member has taken, which means that they are in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicated {
    /// Who has them.
    pub node: NodeId,
    /// The first index.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// When they were sent.
    pub sent: Instant,
    /// When the answer came.
    pub answered: Instant,
}

/// Who wants to know.
pub trait Observer: Send + Sync {
    /// Entries were written; called on the flush worker, before the write is called back.
    fn written(&self, written: &Written);
    /// A member has entries; called before that is counted.
    fn replicated(&self, replicated: &Replicated);
}

/// An observer, if there is one.
pub type Observers = Option<Arc<dyn Observer>>;
