//! What a host and its services have done, as numbers that only rise.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of one service.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) instances: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) trapped: AtomicU64,
    pub(crate) to_background: AtomicU64,
    pub(crate) log_lines: AtomicU64,
}

/// The same, read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests that were handed over.
    pub requests: u64,
    /// Those of them that got a refusal instead of a response.
    pub refused: u64,
    /// Instances that were made.
    pub instances: u64,
    /// Instances that are gone.
    pub dropped: u64,
    /// Calls of guests that trapped, or used their processor time up.
    pub trapped: u64,
    /// Times that a guest ran so long without a pause that it moved to the background.
    pub to_background: u64,
    /// Lines that guests logged.
    pub log_lines: u64,
}

impl Counters {
    pub(crate) fn read(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            requests: read(&self.requests),
            refused: read(&self.refused),
            instances: read(&self.instances),
            dropped: read(&self.dropped),
            trapped: read(&self.trapped),
            to_background: read(&self.to_background),
            log_lines: read(&self.log_lines),
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
