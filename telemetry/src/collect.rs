//! The cold side's state: the newest spans, those that wait for their export, and who waits for either.
//!
//! One thread empties the tracers' queue into it and gives spans their ids; another takes batches out and exports
//! them, so that a collector that is slow or gone holds up neither the queue nor what is kept here. Both are parked
//! while nothing is traced. What waits for its export is bounded; more is dropped and counted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use prometheus_client::metrics::counter::Counter;
use refrain_wire::NodeId;

use crate::recent::Recent;
use crate::trace::{Anchor, Finished, Inbox, QUEUED_RECORDS, TraceIds};

/// After the first record, how long more are gathered before all are taken in.
const GATHER: Duration = Duration::from_millis(20);

/// How much is kept for the export, and from how many spans on it is not delayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_queue: usize,
    pub(crate) max_batch: usize,
    pub(crate) delay: Duration,
}

/// What the two threads and the admin API share.
#[derive(Debug)]
pub(crate) struct Collected {
    state: Mutex<State>,
    changed: Condvar,
    /// Absent when nothing is exported.
    limits: Option<Limits>,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    recent: Recent,
    pending: VecDeque<Finished>,
    /// Spans in the export that runs.
    in_flight: usize,
    /// How many flushes were asked for; up to which of them everything was collected; and was exported or given up.
    asked: u64,
    collected: u64,
    settled: u64,
    stopping: bool,
    /// Nobody waits any more: the exporter ends after what it is doing.
    abandoned: bool,
    collector_ended: bool,
    exporter_ended: bool,
}

impl Collected {
    pub(crate) fn new(limits: Option<Limits>, dropped: Counter) -> Self {
        let state = State { exporter_ended: limits.is_none(), ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new(), limits, dropped }
    }

    /// Looks at the newest spans.
    pub(crate) fn with_recent<T>(&self, look: impl FnOnce(&Recent) -> T) -> T {
        look(&self.state.lock().recent)
    }

    /// Asks for a flush; `wake` unparks the collector. Whether it was done within `within`.
    pub(crate) fn flush(&self, within: Duration, wake: impl FnOnce()) -> bool {
        let deadline = Instant::now() + within;
        let mut state = self.state.lock();
        state.asked += 1;
        let ticket = state.asked;
        wake();
        self.wait(&mut state, deadline, |state| {
            state.settled >= ticket || state.exporter_ended && state.collector_ended
        });
        state.settled >= ticket
    }

    /// Has everything collected and exported, and both threads ended, within `within`; then how many spans are lost.
    pub(crate) fn stop(&self, within: Duration, wake: impl FnOnce()) -> usize {
        let deadline = Instant::now() + within;
        let mut state = self.state.lock();
        state.stopping = true;
        wake();
        self.changed.notify_all();
        self.wait(&mut state, deadline, |state| state.exporter_ended && state.collector_ended);
        state.abandoned = true;
        self.changed.notify_all();
        state.pending.len() + state.in_flight
    }

    fn wait(&self, state: &mut MutexGuard<'_, State>, deadline: Instant, done: impl Fn(&State) -> bool) {
        while !done(state) && !self.changed.wait_until(state, deadline).timed_out() {}
    }

    /// The collecting thread: returns when everything was taken in after [`Collected::stop`].
    pub(crate) fn collect(&self, inbox: &Inbox, ids: &TraceIds, node: NodeId) {
        inbox.adopt();
        let mut first = None;
        loop {
            // Whatever was recorded before a flush was asked for is in the queue now, or was in it before.
            let (asked, stopping) = self.wishes();
            let anchor = Anchor::now();
            let records = first.take().into_iter().chain(inbox.receiver.try_iter().take(QUEUED_RECORDS));
            let finished: Vec<Finished> = records.map(|record| record.finish(ids, node, anchor)).collect();
            self.take_in(&finished, asked, stopping);
            if stopping {
                return;
            }
            first = inbox.sleep();
            if self.wishes() == (asked, stopping) {
                std::thread::park_timeout(GATHER);
            }
        }
    }

    fn wishes(&self) -> (u64, bool) {
        let state = self.state.lock();
        (state.asked, state.stopping)
    }

    fn take_in(&self, finished: &[Finished], asked: u64, ended: bool) {
        let mut state = self.state.lock();
        for span in finished {
            state.recent.push(*span);
            match self.limits.filter(|_| span.traced) {
                Some(limits) if state.pending.len() < limits.max_queue => state.pending.push_back(*span),
                Some(_) => {
                    self.dropped.inc();
                }
                None => {}
            }
        }
        (state.collected, state.collector_ended) = (asked, ended);
        if self.limits.is_none() {
            state.settled = asked;
        }
        self.changed.notify_all();
    }

    /// The exporting thread: the next spans to export, when there are enough, when they have waited long enough, or
    /// when somebody waits for them. The last ones are done with then. `None` is the end.
    pub(crate) fn next_batch(&self) -> Option<Vec<Finished>> {
        let limits = self.limits?;
        let mut state = self.state.lock();
        state.in_flight = 0;
        let mut waiting_since = None;
        loop {
            let all = state.collected > state.settled || state.collector_ended;
            let end = state.abandoned || state.collector_ended && state.pending.is_empty();
            if all && state.pending.is_empty() || end {
                (state.settled, state.exporter_ended) = (state.collected, end);
                self.changed.notify_all();
            }
            if end {
                return None;
            }
            if state.pending.is_empty() {
                self.changed.wait(&mut state);
                continue;
            }
            let due = *waiting_since.get_or_insert_with(Instant::now) + limits.delay;
            if all || state.pending.len() >= limits.max_batch || Instant::now() >= due {
                state.in_flight = state.pending.len().min(limits.max_batch);
                let count = state.in_flight;
                return Some(state.pending.drain(..count).collect());
            }
            self.changed.wait_until(&mut state, due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use refrain_wire::{ClusterId, GroupId, Position};

    use super::*;
    use crate::trace::{Detail, Record};

    fn spans(count: u64) -> Vec<Finished> {
        let anchor = Anchor { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let ids = TraceIds::new(ClusterId([0; 16]));
        let record = |position| {
            let (group, position) = (GroupId(1), Position(position));
            Record { group, position, from: anchor.instant, to: anchor.instant, traced: true, detail: Detail::Append }
        };
        (1..=count).map(|position| record(position).finish(&ids, NodeId(1), anchor)).collect()
    }

    fn collected(max_queue: usize, max_batch: usize, delay: Duration) -> Collected {
        Collected::new(Some(Limits { max_queue, max_batch, delay }), Counter::default())
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn what_is_above_the_limit_is_dropped_and_counted_but_kept_here() {
        let collected = collected(10, 10, LONG);
        collected.take_in(&spans(13), 0, false);
        assert_eq!(collected.dropped.get(), 3);
        assert_eq!(collected.next_batch().expect("a full batch").len(), 10);
        assert_eq!(collected.with_recent(|recent| recent.find(&crate::Filter::default()).len()), 13);
    }

    #[test]
    fn what_is_not_traced_is_kept_here_and_not_exported() {
        let collected = collected(10, 2, LONG);
        let mut slow = spans(4);
        slow[1].traced = false;
        slow[2].traced = false;
        collected.take_in(&slow, 0, false);
        let exported: Vec<u64> =
            collected.next_batch().expect("a full batch").iter().map(|span| span.position.0).collect();
        assert_eq!(exported, [1, 4]);
        assert_eq!(
            (collected.dropped.get(), collected.with_recent(|recent| recent.find(&crate::Filter::default()).len())),
            (0, 4)
        );
    }

    #[test]
    fn a_full_batch_goes_at_once_and_the_rest_after_the_delay() {
        let collected = collected(100, 8, Duration::ZERO);
        collected.take_in(&spans(11), 0, false);
        let sizes = [(); 2].map(|()| collected.next_batch().expect("a batch").len());
        assert_eq!(sizes, [8, 3]);
    }

    #[test]
    fn a_flush_hurries_what_waits_and_ends_when_that_is_exported() {
        let collected = Arc::new(collected(100, 8, LONG));
        let exporter = std::thread::spawn({
            let collected = Arc::clone(&collected);
            move || std::iter::from_fn(|| collected.next_batch()).map(|batch| batch.len()).sum::<usize>()
        });
        // The collecting thread's answer to the wake.
        assert!(collected.flush(LONG, || {
            let collected = Arc::clone(&collected);
            std::thread::spawn(move || collected.take_in(&spans(3), 1, false));
        }));
        let lost = collected.stop(LONG, || {
            let collected = Arc::clone(&collected);
            std::thread::spawn(move || collected.take_in(&spans(2), 1, true));
        });
        assert_eq!((lost, exporter.join().expect("no panic")), (0, 5));
    }

    #[test]
    fn who_stops_does_not_wait_for_an_export_that_hangs() {
        let collected = collected(100, 8, Duration::ZERO);
        collected.take_in(&spans(11), 0, false);
        assert_eq!(collected.next_batch().expect("a batch that is never done").len(), 8);
        assert_eq!(collected.stop(Duration::ZERO, || {}), 11);
        assert!(collected.next_batch().is_none());
    }
}
