//! What the front end counts.

use std::cell::Cell;

use refrain_wire::CallFailure;

use crate::nat::Ending;

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    accepted: Cell<u64>,
    refused: Cell<u64>,
    no_header: Cell<u64>,
    not_accepted: Cell<u64>,
    outcome_unknown: Cell<u64>,
    calls: Cell<u64>,
    lookups: Cell<u64>,
    failures: Cell<Failures>,
    datagrams_in: Cell<u64>,
    datagrams_out: Cell<u64>,
    datagrams_dropped: Cell<u64>,
}

/// How many calls came to nothing, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures([u64; CallFailure::Other as usize + 1]);

impl Failures {
    /// How many of this kind.
    #[must_use]
    pub fn of(&self, failure: CallFailure) -> u64 {
        self.0[failure as usize]
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
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

    pub(super) fn add_no_header(&self) {
        self.no_header.set(self.no_header.get() + 1);
    }

    pub(super) fn add_not_accepted(&self) {
        self.not_accepted.set(self.not_accepted.get() + 1);
    }

    pub(super) fn add_call(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    pub(super) fn add_lookup(&self) {
        self.lookups.set(self.lookups.get() + 1);
    }

    pub(super) fn add_failure(&self, failure: CallFailure) {
        let mut failures = self.failures.get();
        failures.0[failure as usize] += 1;
        self.failures.set(failures);
    }

    pub(super) fn add_datagram_in(&self, bytes: usize) {
        self.datagrams_in.set(self.datagrams_in.get() + 1);
        self.add_in(bytes);
    }

    pub(super) fn add_datagram_out(&self, bytes: usize) {
        self.datagrams_out.set(self.datagrams_out.get() + 1);
        self.add_out(bytes);
    }

    pub(super) fn add_datagrams_dropped(&self, count: usize) {
        self.datagrams_dropped.set(self.datagrams_dropped.get() + count as u64);
    }

    /// Counts what has an own counter.
    pub(super) fn add_ending(&self, ending: Ending) {
        match ending {
            Ending::NotAccepted => self.add_not_accepted(),
            Ending::OutcomeUnknown => self.outcome_unknown.set(self.outcome_unknown.get() + 1),
            _ => {}
        }
    }

    pub(super) fn fill(&self, stats: &mut Stats) {
        stats.bytes_in = self.bytes_in.get();
        stats.bytes_out = self.bytes_out.get();
        stats.accepted = self.accepted.get();
        stats.refused = self.refused.get();
        stats.no_header = self.no_header.get();
        stats.not_accepted = self.not_accepted.get();
        stats.outcome_unknown = self.outcome_unknown.get();
        stats.calls = self.calls.get();
        stats.lookups = self.lookups.get();
        stats.failures = self.failures.get();
        stats.datagrams_in = self.datagrams_in.get();
        stats.datagrams_out = self.datagrams_out.get();
        stats.datagrams_dropped = self.datagrams_dropped.get();
    }
}

/// A picture of the front end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections and associations now, those that guests opened or open included.
    pub connections: usize,
    /// Those that guests opened or open.
    pub outward: usize,
    /// Connections accepted, and associations made by clients, since the start.
    pub accepted: u64,
    /// Connections refused since the start, by a limit or because their group is halted.
    pub refused: u64,
    /// Connections of trusted proxies reset since the start because they did not begin with a PROXY protocol header.
    pub no_header: u64,
    /// Connections reset since the start while the proxy had no epoch, or by the end of its epoch before anything of
    /// them was submitted: nothing that they sent was or will be executed.
    pub not_accepted: u64,
    /// Connections reset since the start by the end of the epoch, after something of them was submitted: what they sent
    /// may have been executed.
    pub outcome_unknown: u64,
    /// Connections and associations made for guests since the start.
    pub calls: u64,
    /// Names looked up for guests since the start, and found.
    pub lookups: u64,
    /// Calls and look-ups that came to nothing since the start.
    pub failures: Failures,
    /// Datagrams that became records since the start.
    pub datagrams_in: u64,
    /// Datagrams that sockets took since the start.
    pub datagrams_out: u64,
    /// Datagrams dropped since the start: nobody took them, there was no room for them, or their socket did not take
    /// them at once.
    pub datagrams_dropped: u64,
    /// Bytes that clients, and servers that guests called, sent since the start.
    pub bytes_in: u64,
    /// Bytes that their sockets took since the start.
    pub bytes_out: u64,
    /// Bytes agreed and waiting for slow clients, and slow servers.
    pub queued_bytes: usize,
    /// Bytes of records that wait for a submission.
    pub pending_bytes: usize,
    /// Submissions taken and not committed.
    pub in_flight: usize,
}
