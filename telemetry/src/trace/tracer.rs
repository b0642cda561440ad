//! What the loop thread and the workers hold: a handle that says whether a batch is traced and takes its spans.
//!
//! Nothing here blocks or allocates. A queue that is full drops the span and counts it. The collecting thread is woken
//! only when it sleeps, which it does when nothing was recorded for a while.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use refrain_wire::{ClusterId, GroupId, Incarnation, Position, Seat};

use super::ids::TraceIds;
use super::record::{Detail, Record};
use super::sampler::Sampler;
use crate::config::Ratio;

/// The most records that wait for the collecting thread; it empties the queue every few milliseconds.
pub(crate) const QUEUED_RECORDS: usize = 8_192;

/// A stage of a batch that is not traced is kept on its node when it took at least so long.
pub const SLOW: Duration = Duration::from_millis(100);

/// From when to when a stage lasted. An end before the begin counts as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Its begin.
    pub from: Instant,
    /// Its end.
    pub to: Instant,
}

impl Interval {
    /// From `from` until now.
    #[must_use]
    pub fn since(from: Instant) -> Self {
        Self { from, to: Instant::now() }
    }

    /// Whether it took so long that it is kept in any case.
    #[inline]
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.to.saturating_duration_since(self.from) >= SLOW
    }
}

/// What an engine says of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The seat that voted with it.
    pub seat: Seat,
    /// Which of its holders.
    pub incarnation: Incarnation,
    /// The turn was replayed: it is not recorded, as somebody has done so before.
    pub replaying: bool,
    /// Fuel that the guest used.
    pub fuel: u64,
    /// Linear memory of the guest, in bytes.
    pub memory_bytes: u64,
}

/// How records reach the collecting thread.
#[derive(Debug)]
struct Outbox {
    sender: SyncSender<Record>,
    asleep: AtomicBool,
    collector: OnceLock<Thread>,
    recorded: Counter,
    dropped: Counter,
}

/// The collecting thread's end.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) receiver: Receiver<Record>,
    outbox: Arc<Outbox>,
}

/// Says whether a batch is traced, and records its spans. Cheap to clone; one for each thread that records.
#[derive(Clone)]
pub struct Tracer {
    ids: TraceIds,
    sampler: Sampler,
    outbox: Option<Arc<Outbox>>,
}

/// A queue of `capacity` records between a tracer and the thread that collects.
pub(crate) fn channel(
    ids: TraceIds,
    sampler: Sampler,
    capacity: usize,
    recorded: Counter,
    dropped: Counter,
) -> (Tracer, Inbox) {
    let (sender, receiver) = sync_channel(capacity);
    let (asleep, collector) = (AtomicBool::new(false), OnceLock::new());
    let outbox = Arc::new(Outbox { sender, asleep, collector, recorded, dropped });
    (Tracer { ids, sampler, outbox: Some(Arc::clone(&outbox)) }, Inbox { receiver, outbox })
}

impl Tracer {
    /// One that traces nothing.
    #[must_use]
    pub fn off() -> Self {
        Self { ids: TraceIds::new(ClusterId([0; 16])), sampler: Sampler::new(Ratio::NONE), outbox: None }
    }

    /// The batch's trace if it is traced; all nodes of the cluster with the same ratio decide alike. Costs a few
    /// nanoseconds when it is not.
    #[inline]
    #[must_use]
    pub fn batch(&self, group: GroupId, position: Position) -> Option<BatchTrace<'_>> {
        if !self.sampler.takes(self.ids.low(group, position)) {
            return None;
        }
        let outbox = self.outbox.as_deref()?;
        Some(BatchTrace { outbox, group, position, traced: true })
    }

    /// The batch's trace if it is traced, or if one of its stages lasted for `interval` and that was slow. What is
    /// recorded of a batch that is not traced stays on this node: other nodes know nothing of it.
    #[inline]
    #[must_use]
    pub fn stage(&self, group: GroupId, position: Position, interval: Interval) -> Option<BatchTrace<'_>> {
        self.batch(group, position).or_else(|| {
            let outbox = self.outbox.as_deref().filter(|_| interval.is_slow())?;
            Some(BatchTrace { outbox, group, position, traced: false })
        })
    }

    /// The ids of the cluster's traces.
    #[must_use]
    pub fn ids(&self) -> &TraceIds {
        &self.ids
    }
}

impl Outbox {
    fn push(&self, record: Record) {
        if self.sender.try_send(record).is_err() {
            self.dropped.inc();
            return;
        }
        self.recorded.inc();
        // With the fence in `Inbox::sleep`: either this sees the sleep, or the sleeper sees the record.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if self.asleep.swap(false, Ordering::Relaxed)
            && let Some(thread) = self.collector.get()
        {
            thread.unpark();
        }
    }
}

impl Inbox {
    /// Names the calling thread as the one that collects.
    pub(crate) fn adopt(&self) {
        let _ = self.outbox.collector.set(std::thread::current());
    }

    /// Parks until something is recorded, or until somebody unparks this thread; returns the record that it found.
    pub(crate) fn sleep(&self) -> Option<Record> {
        self.outbox.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let found = self.receiver.try_recv().ok();
        if found.is_none() {
            std::thread::park();
        }
        self.outbox.asleep.store(false, Ordering::Relaxed);
        found
    }
}

/// A batch that is traced: takes the spans of its stages.
#[derive(Clone, Copy)]
pub struct BatchTrace<'a> {
    outbox: &'a Outbox,
    group: GroupId,
    position: Position,
    traced: bool,
}

impl BatchTrace<'_> {
    /// Whether all nodes record the batch; else this node alone does, because a stage was slow.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.traced
    }

    fn record(&self, interval: Interval, detail: Detail) {
        let Self { outbox, group, position, traced } = *self;
        let Interval { from, to } = interval;
        outbox.push(Record { group, position, from, to, traced, detail });
    }

    /// The root, by the leader that ordered the batch and by nobody else: from the taking of its first submission until
    /// a quorum of seats has executed it, or, where that is not followed, until the commit.
    pub fn whole(&self, interval: Interval, records: u32, bytes: u64) {
        self.record(interval, Detail::Batch { records, bytes });
    }

    /// A proxy: from the first of the clients' bytes read until the submission was sent; how many bytes.
    pub fn ingress(&self, interval: Interval, bytes: u64) {
        self.record(interval, Detail::Ingress { bytes });
    }

    /// The leader that ordered the batch: from the draft until the commit, in its term.
    pub fn order(&self, interval: Interval, term: u64) {
        self.record(interval, Detail::Order { term });
    }

    /// A member: the write of the entry to its log.
    pub fn append(&self, interval: Interval) {
        self.record(interval, Detail::Append);
    }

    /// The leader: from the sending of the entry until a majority of members has it.
    pub fn replicate(&self, interval: Interval) {
        self.record(interval, Detail::Replicate);
    }

    /// A member: the sync of its log that covered the entry.
    pub fn fsync(&self, interval: Interval) {
        self.record(interval, Detail::Fsync);
    }

    /// An engine: one replica's turn. Nothing is recorded of one that was replayed.
    pub fn turn(&self, interval: Interval, turn: Turn) {
        if turn.replaying {
            return;
        }
        let Turn { seat, incarnation, fuel, memory_bytes, .. } = turn;
        self.record(interval, Detail::Turn { seat: seat.0, incarnation: incarnation.0, fuel, memory_bytes });
    }

    /// A proxy: from the commit until `quorum` equal votes, which the seats in `seats` cast (bit 0 is seat 0).
    pub fn vote(&self, interval: Interval, quorum: u8, seats: u8) {
        self.record(interval, Detail::Vote { quorum, seats });
    }

    /// A proxy: from agreement until the bytes were written to the clients' sockets; how many.
    pub fn egress(&self, interval: Interval, bytes: u64) {
        self.record(interval, Detail::Egress { bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(capacity: usize) -> (Tracer, Inbox) {
        let ids = TraceIds::new(ClusterId([5; 16]));
        let all = Sampler::new(Ratio::new(1.0).expect("a ratio"));
        channel(ids, all, capacity, Counter::default(), Counter::default())
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_counts_it() {
        let (tracer, inbox) = tracer(3);
        let now = Interval::since(Instant::now());
        for position in 1..=5 {
            tracer.batch(GroupId(1), Position(position)).expect("all are traced").append(now);
        }
        assert_eq!((inbox.outbox.recorded.get(), inbox.outbox.dropped.get()), (3, 2));
        let kept: Vec<u64> = inbox.receiver.try_iter().map(|record| record.position.0).collect();
        assert_eq!(kept, [1, 2, 3]);
    }

    #[test]
    fn a_replayed_turn_is_not_recorded() {
        let (tracer, inbox) = tracer(3);
        let now = Interval::since(Instant::now());
        let turn = Turn { seat: Seat(0), incarnation: Incarnation(1), replaying: true, fuel: 0, memory_bytes: 0 };
        let trace = tracer.batch(GroupId(1), Position(1)).expect("all are traced");
        trace.turn(now, turn);
        assert!(inbox.receiver.try_recv().is_err());
        trace.turn(now, Turn { replaying: false, ..turn });
        assert!(inbox.receiver.try_recv().is_ok());
    }

    #[test]
    fn a_record_wakes_a_sleeper() {
        let (tracer, inbox) = tracer(8);
        let sleeper = std::thread::spawn(move || {
            inbox.adopt();
            loop {
                if let Some(record) = inbox.sleep().or_else(|| inbox.receiver.try_recv().ok()) {
                    return record.position;
                }
            }
        });
        tracer.batch(GroupId(1), Position(9)).expect("all are traced").append(Interval::since(Instant::now()));
        assert_eq!(sleeper.join().expect("no panic"), Position(9));
    }

    #[test]
    fn one_that_is_off_traces_nothing() {
        assert!((0..1_000).all(|position| Tracer::off().batch(GroupId(0), Position(position)).is_none()));
        let now = Instant::now();
        let slow = Interval { from: now, to: now + SLOW };
        assert!(Tracer::off().stage(GroupId(0), Position(1), slow).is_none());
    }

    #[test]
    fn a_slow_stage_is_recorded_though_its_batch_is_not_traced() {
        let few = Sampler::new(Ratio::new(1e-15).expect("a ratio"));
        let ids = TraceIds::new(ClusterId([5; 16]));
        let (tracer, inbox) = channel(ids, few, 8, Counter::default(), Counter::default());
        let now = Instant::now();
        let lasting = |time| Interval { from: now, to: now + time };
        let (quick, slow) = (lasting(SLOW - Duration::from_nanos(1)), lasting(SLOW));
        assert!(tracer.stage(GroupId(1), Position(9), quick).is_none());
        tracer.stage(GroupId(1), Position(9), slow).expect("it is slow").append(slow);
        assert!(!inbox.receiver.try_recv().expect("it was recorded").traced);
    }
}
