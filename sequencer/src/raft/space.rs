//! Space for entries: reserved before openraft sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::storage::{completed, completion};
use crate::frame::EntryId;
use crate::log::AppendError;
use crate::segment_log::SegmentLog;
use crate::writer::WriteError;

/// Bytes of every segment that only openraft's own entries use, so that taking office never needs new space.
const RESERVE_BYTES: u64 = 4096;
/// The share of `max_log_bytes` at which a warning is logged, in percent.
const WARN_PERCENT: u64 = 80;

/// What the log may take, and what is on its way into it.
pub(crate) struct Space {
    log: Arc<SegmentLog>,
    max_log_bytes: Option<u64>,
    /// Frame bytes of appends that are on their way.
    in_flight: AtomicU64,
    warned: AtomicBool,
    /// The disk had no space for what was last to be written.
    full: AtomicBool,
}

/// Counts an append as on its way until it is dropped.
pub(crate) struct InFlight<'a> {
    counter: &'a AtomicU64,
    bytes: u64,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Space {
    pub(crate) fn new(log: Arc<SegmentLog>, max_log_bytes: Option<u64>) -> Self {
        let (warned, full) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { log, max_log_bytes, in_flight: AtomicU64::new(0), warned, full }
    }

    pub(crate) fn max_log_bytes(&self) -> Option<u64> {
        self.max_log_bytes
    }

    /// Whether the disk had no space for what was last to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The last entry that the log has.
    pub(crate) fn last(&self) -> Option<EntryId> {
        self.log.last()
    }

    /// Sees to it that `bytes` of frames of the leader can be written without new space, or refuses.
    pub(crate) async fn admit(&self, bytes: u64) -> Result<InFlight<'_>, AppendError> {
        let in_flight = self.count(bytes);
        self.check_limit(self.in_flight.load(Ordering::Acquire))?;
        let reserved = self.reserve().await;
        // Whoever wanted it ordered tells.
        self.full.store(matches!(reserved, Err(WriteError::DiskFull { .. })), Ordering::Relaxed);
        reserved?;
        Ok(in_flight)
    }

    /// The same for entries that another member leads, which its limit has let pass. A log that has failed refuses none.
    /// With `cuts`, they may take the place of others, which takes a segment of their own.
    pub(crate) async fn admit_led(&self, bytes: u64, cuts: bool) -> Result<InFlight<'_>, WriteError> {
        let in_flight = self.count(bytes);
        let reserved = if cuts { self.reserve_segment().await } else { self.reserve().await };
        self.tell_if_full(&reserved);
        left_to_openraft(reserved).map(|()| in_flight)
    }

    /// The same for a state that another member gives in place of entries. openraft ends when it cannot be written.
    pub(crate) async fn admit_state(&self, bytes: u64) -> Result<(), WriteError> {
        let (done, receiver) = completion();
        self.log.fit_snapshot(bytes + RESERVE_BYTES, done);
        let reserved = completed(receiver).await;
        self.tell_if_full(&reserved);
        left_to_openraft(reserved)
    }

    fn tell_if_full(&self, reserved: &Result<(), WriteError>) {
        let full = matches!(reserved, Err(WriteError::DiskFull { .. }));
        match (self.full.swap(full, Ordering::Relaxed), reserved) {
            // The leader tries again and again; the operator is told once.
            (false, Err(error)) if full => tracing::warn!(%error, "this member takes no entries, the others go on"),
            (true, Ok(())) => tracing::info!("this member takes entries again"),
            _ => {}
        }
    }

    fn count(&self, bytes: u64) -> InFlight<'_> {
        self.in_flight.fetch_add(bytes, Ordering::AcqRel);
        InFlight { counter: &self.in_flight, bytes }
    }

    async fn reserve(&self) -> Result<(), WriteError> {
        let needed = self.in_flight.load(Ordering::Acquire) + RESERVE_BYTES;
        if self.log.has_room(needed) { Ok(()) } else { self.reserve_segment().await }
    }

    /// Reserves the next segment, if that is not done, whatever room there is in this one.
    async fn reserve_segment(&self) -> Result<(), WriteError> {
        let needed = self.in_flight.load(Ordering::Acquire) + RESERVE_BYTES;
        let (done, receiver) = completion();
        self.log.reserve(needed, done);
        completed(receiver).await
    }

    fn check_limit(&self, needed_bytes: u64) -> Result<(), AppendError> {
        let Some(max_bytes) = self.max_log_bytes else { return Ok(()) };
        let bytes = self.log.bytes();
        if bytes + needed_bytes > max_bytes {
            return Err(AppendError::Full { bytes, max_bytes, needed_bytes });
        }
        let high = bytes + needed_bytes > max_bytes / 100 * WARN_PERCENT;
        if high && !self.warned.swap(high, Ordering::Relaxed) {
            tracing::warn!(bytes, max_bytes, "the log has reached {WARN_PERCENT} % of its limit");
        }
        Ok(())
    }
}

/// A log that has failed is for openraft to find, whose next write ends the member: who only refused would go on, and so
/// would those that follow it.
fn left_to_openraft(reserved: Result<(), WriteError>) -> Result<(), WriteError> {
    match reserved {
        Err(WriteError::Failed(_)) => Ok(()),
        other => other,
    }
}
