//! What is under way at each release and upstream, counted over all loops and kept from plan to plan.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shares;
use super::ejection::Ejection;

/// Numbers of a release for metrics. They only grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Answers by the first digit of their status, from 1xx to 5xx; upgrades are 1xx.
    pub(crate) answers: [AtomicU64; 5],
    /// Answers that the front end gave itself because of the release: no place, no upstream, no answer.
    pub(crate) refused: AtomicU64,
    pub(crate) retries: AtomicU64,
    /// Requests that came by other front ends, which count their answers.
    pub(crate) inner: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) micros: AtomicU64,
}

/// A release's requests.
#[derive(Debug, Default)]
pub(crate) struct ReleaseLoad {
    pub(crate) in_flight: AtomicU32,
    pub(crate) waiting: AtomicU32,
    /// Wakes one of those who wait when a place at an upstream is free. Who is woken and cannot use it wakes the next.
    pub(crate) freed: Notify,
    /// Places that became free while someone waited. It only grows.
    pub(crate) freed_count: AtomicU64,
    /// Plans that have the release, whose upstreams may differ: more than one while requests of an older one go on.
    pub(crate) plans: AtomicU32,
    pub(crate) shares: Shares,
    pub(crate) counters: Counters,
}

/// A place among the requests of a release.
#[derive(Debug)]
pub(crate) struct Ticket(pub(crate) Arc<ReleaseLoad>);

impl Ticket {
    pub(crate) fn take(load: &Arc<ReleaseLoad>, limit: u32) -> Option<Self> {
        take_place(&load.in_flight, limit).then(|| Self(Arc::clone(load)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Counts one more, if that stays within the limit.
pub(crate) fn take_place(count: &AtomicU32, limit: u32) -> bool {
    if count.fetch_add(1, Relaxed) < limit {
        return true;
    }
    count.fetch_sub(1, Relaxed);
    false
}

/// An upstream's requests and failures.
#[derive(Debug)]
pub(crate) struct UpstreamLoad {
    pub(crate) outstanding: AtomicU32,
    /// Connections that wait for a request, at all loops.
    pub(crate) idle: AtomicU32,
    /// Requests that it was given, and those of them that failed there: both only grow.
    pub(crate) given: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// The last answer to the question whether it is well; of one that is not asked: well.
    pub(crate) is_well: AtomicBool,
    /// Whether `ejection` knows of a failure: a success then has something to clear.
    has_failed: AtomicBool,
    ejection: Mutex<Ejection>,
}

impl UpstreamLoad {
    pub(crate) fn new(is_well: bool) -> Self {
        Self {
            outstanding: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            given: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            is_well: AtomicBool::new(is_well),
            has_failed: AtomicBool::new(false),
            ejection: Mutex::default(),
        }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.has_failed.load(Relaxed) && self.ejection.lock().is_out(Instant::now())
    }

    /// Says whether this failure ejected it.
    pub(crate) fn failed(&self) -> bool {
        self.failures.fetch_add(1, Relaxed);
        self.has_failed.store(true, Relaxed);
        self.ejection.lock().failed(Instant::now())
    }

    pub(crate) fn succeeded(&self) {
        if self.has_failed.load(Relaxed) {
            let mut ejection = self.ejection.lock();
            ejection.succeeded();
            self.has_failed.store(false, Relaxed);
        }
    }
}

/// A place at an upstream.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) upstream: Arc<UpstreamLoad>,
    pub(crate) release: Arc<ReleaseLoad>,
    /// Its place in the release.
    pub(crate) index: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // In this order, as who waits looks for a place after it was counted: one of the two sees the other.
        self.upstream.outstanding.fetch_sub(1, SeqCst);
        if self.release.waiting.load(SeqCst) > 0 {
            self.release.freed_count.fetch_add(1, SeqCst);
            self.release.freed.notify_one();
        }
    }
}
