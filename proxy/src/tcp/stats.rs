//! What the front end counts.

use std::cell::Cell;

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    accepted: Cell<u64>,
    refused: Cell<u64>,
}

impl Counters {
    pub(super) fn add_in(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }

    pub(super) fn add_out(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    pub(super) fn add_accepted(&self) {
        self.accepted.set(self.accepted.get() + 1);
    }

    pub(super) fn add_refused(&self) {
        self.refused.set(self.refused.get() + 1);
    }

    pub(super) fn fill(&self, stats: &mut Stats) {
        stats.bytes_in = self.bytes_in.get();
        stats.bytes_out = self.bytes_out.get();
        stats.accepted = self.accepted.get();
        stats.refused = self.refused.get();
    }
}

/// A picture of the front end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections now.
    pub connections: usize,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections refused since the start.
    pub refused: u64,
    /// Bytes that clients sent since the start.
    pub bytes_in: u64,
    /// Bytes that clients' sockets took since the start.
    pub bytes_out: u64,
    /// Bytes agreed and waiting for slow clients.
    pub queued_bytes: usize,
    /// Bytes of records that wait for a submission.
    pub pending_bytes: usize,
    /// Submissions taken and not committed.
    pub in_flight: usize,
}
