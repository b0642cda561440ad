//! What the log's own threads did with entries: writes, syncs, answers of other members. They happen before it is known
//! which groups an entry has, so the newest are kept until it is.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use refrain_sequencer::observe::{Observer, Replicated, Written};
use refrain_telemetry::{Interval, Metrics, Tracer};
use refrain_wire::{GroupId, Position};

/// Writes, and answers of members, that are kept.
const KEPT: usize = 1024;
/// Traced batches that may wait for their write: a leader may have a majority before its own disk is done.
const MAX_WAITING: usize = 64;

#[derive(Default)]
struct Writes {
    newest: VecDeque<Written>,
    /// Committed, and not written here yet.
    waiting: VecDeque<(GroupId, Position)>,
}

/// What was done with entries lately.
pub(super) struct LogWork {
    tracer: Tracer,
    metrics: Arc<Metrics>,
    writes: Mutex<Writes>,
    replicated: Mutex<VecDeque<Replicated>>,
}

fn push<T>(queue: &mut VecDeque<T>, limit: usize, newest: T) {
    if queue.len() == limit {
        queue.pop_front();
    }
    queue.push_back(newest);
}

impl LogWork {
    pub(super) fn new(tracer: Tracer, metrics: Arc<Metrics>) -> Self {
        Self { tracer, metrics, writes: Mutex::default(), replicated: Mutex::default() }
    }

    /// A traced batch of an entry of this member's log is committed.
    pub(super) fn committed(&self, group: GroupId, position: Position) {
        let mut writes = self.writes.lock();
        match writes.newest.iter().rev().find(|write| covers(write, position)) {
            Some(write) => self.tell(group, position, write),
            None => push(&mut writes.waiting, MAX_WAITING, (group, position)),
        }
    }

    fn tell(&self, group: GroupId, position: Position, write: &Written) {
        let Some(trace) = self.tracer.batch(group, position) else { return };
        trace.append(Interval { from: write.began, to: write.written });
        if let Some(synced) = write.synced {
            trace.fsync(Interval { from: write.written, to: synced });
        }
    }

    /// From the sending of an entry until a majority of `voters` had it, this member being one; none when it is alone.
    pub(super) fn majority_had(&self, position: Position, voters: usize) -> Option<Interval> {
        let others = (voters / 2).checked_sub(1)?;
        let mut replicated = self.replicated.lock();
        let has = |answer: &&Replicated| (answer.first..=answer.last).contains(&position.0);
        let from = replicated.iter().filter(has).map(|answer| answer.sent).min();
        // They stand in the order in which they came.
        let to = replicated.iter().filter(has).nth(others).map(|answer| answer.answered);
        while replicated.front().is_some_and(|answer| answer.last <= position.0) {
            replicated.pop_front();
        }
        Some(Interval { from: from?, to: to? })
    }
}

fn covers(write: &Written, position: Position) -> bool {
    (write.first..=write.last).contains(&position.0)
}

impl Observer for LogWork {
    fn written(&self, written: &Written) {
        if let Some(synced) = written.synced {
            self.metrics.sequencer.fsync.observe(synced.saturating_duration_since(written.written));
        }
        let mut writes = self.writes.lock();
        push(&mut writes.newest, KEPT, *written);
        writes.waiting.retain(|(group, position)| {
            let done = covers(written, *position);
            if done {
                self.tell(*group, *position, written);
            }
            !done
        });
    }

    fn replicated(&self, replicated: &Replicated) {
        push(&mut self.replicated.lock(), KEPT, *replicated);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use refrain_telemetry::{Config, Filter, Identity, Ratio, Telemetry};
    use refrain_wire::{ClusterId, NodeId};

    use super::*;

    const GROUP: GroupId = GroupId(3);

    fn telemetry() -> Telemetry {
        let identity = Identity { cluster: ClusterId([1; 16]), node: NodeId(1), version: "0" };
        Telemetry::start(identity, &Config { ratio: Ratio::ALL, ..Config::off() }).expect("threads can be started")
    }

    fn work(telemetry: &Telemetry) -> LogWork {
        LogWork::new(telemetry.tracer().clone(), Arc::clone(telemetry.metrics()))
    }

    fn names(telemetry: &Telemetry, position: u64) -> Vec<String> {
        assert!(telemetry.flush(Duration::from_secs(60)));
        let filter = Filter { position: Some(Position(position)), ..Filter::default() };
        telemetry.recent(&filter).into_iter().map(|span| span.name).collect()
    }

    #[test]
    fn a_write_is_told_whether_it_is_done_before_the_commit_or_after() {
        let telemetry = telemetry();
        let (work, zero) = (work(&telemetry), Instant::now());
        let after = |micros| zero + Duration::from_micros(micros);
        let write = Written { first: 7, last: 9, began: zero, written: after(5), synced: Some(after(90)) };
        work.committed(GROUP, Position(9));
        work.committed(GROUP, Position(10));
        assert_eq!(names(&telemetry, 9), [""; 0]);
        work.written(&write);
        work.committed(GROUP, Position(7));
        for position in [7, 9] {
            assert_eq!(names(&telemetry, position), ["sequencer.append", "sequencer.fsync"], "{position}");
        }
        assert_eq!(names(&telemetry, 10), [""; 0], "it is not written yet");
        assert_eq!(names(&telemetry, 8), [""; 0], "nobody said that it is committed");
    }

    #[test]
    fn a_majority_has_an_entry_when_enough_others_have_answered() {
        let telemetry = telemetry();
        let (work, zero) = (work(&telemetry), Instant::now());
        let after = |micros| zero + Duration::from_micros(micros);
        let answer = |node, last, sent, answered| {
            let (sent, answered) = (after(sent), after(answered));
            work.replicated(&Replicated { node: NodeId(node), first: 5, last, sent, answered });
        };
        answer(2, 5, 1, 10);
        answer(3, 6, 2, 20);
        assert_eq!(work.majority_had(Position(6), 5), None, "one of the two that are needed");
        answer(2, 5, 1, 10);
        answer(3, 6, 2, 20);
        assert_eq!(work.majority_had(Position(5), 1), None, "nobody else is needed");
        assert_eq!(work.majority_had(Position(5), 5), Some(Interval { from: after(1), to: after(20) }));
        assert_eq!(work.majority_had(Position(6), 3), Some(Interval { from: after(2), to: after(20) }));
    }
}
