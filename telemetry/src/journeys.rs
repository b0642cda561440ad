//! The way of what one proxy submits, from the first bytes read to the answer written: its times become the metrics
//! and spans of the proxy. Pure but for what it records into; the caller passes the time in.
//!
//! A position is known only when it is committed, so the times before are kept until then. At most
//! [`JOURNEYS_MAX`] batches are under way in one group; the oldest is forgotten for a new one, and says nothing.
//! Batches without anything of this proxy (ticks, controls, other proxies' clients) have no begin: they are voted on
//! and waited for like others, but there is no end-to-end time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use refrain_wire::{GroupId, Position};

use crate::metrics::ServiceMetrics;
use crate::trace::{Interval, Tracer};

/// The most batches of one group between commit and agreement.
pub const JOURNEYS_MAX: usize = 65_536;

/// What the proxy submitted and does not know the position of yet.
#[derive(Clone, Copy, Debug)]
struct Submitted {
    read: Instant,
    sent: Instant,
    bytes: u64,
}

/// A committed batch.
#[derive(Clone, Copy, Debug)]
struct Underway {
    position: Position,
    submitted: Option<Submitted>,
    committed: Instant,
}

#[derive(Debug)]
struct Group {
    metrics: ServiceMetrics,
    /// When the first bytes were read that are not submitted yet.
    read: Option<Instant>,
    submitted: VecDeque<(u64, Submitted)>,
    underway: VecDeque<Underway>,
}

/// The journeys of one proxy.
pub struct Journeys {
    tracer: Tracer,
    groups: BTreeMap<GroupId, Group>,
}

impl Journeys {
    /// None under way.
    #[must_use]
    pub fn new(tracer: Tracer) -> Self {
        Self { tracer, groups: BTreeMap::new() }
    }

    /// A group whose clients this proxy has. What is said of a group that was not added is ignored.
    pub fn add(&mut self, group: GroupId, metrics: ServiceMetrics) {
        let (submitted, underway) = (VecDeque::new(), VecDeque::new());
        self.groups.insert(group, Group { metrics, read: None, submitted, underway });
    }

    /// The group is gone.
    pub fn remove(&mut self, group: GroupId) {
        self.groups.remove(&group);
    }

    /// The epoch ended: nothing that is under way will be agreed on for it.
    pub fn reset(&mut self) {
        for group in self.groups.values_mut() {
            group.read = None;
            group.submitted.clear();
            group.underway.clear();
        }
    }

    /// So many bytes of a client of `group` were read.
    pub fn read(&mut self, group: GroupId, bytes: u64, now: Instant) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.metrics.received_bytes.inc_by(bytes);
            group.read.get_or_insert(now);
        }
    }

    /// The submission of this number went out with `bytes` for `group`. One that goes out again keeps its first times.
    pub fn submitted(&mut self, group: GroupId, number: u64, bytes: u64, now: Instant) {
        let Some(group) = self.groups.get_mut(&group) else { return };
        if group.submitted.iter().all(|(other, _)| *other != number) {
            let read = group.read.take().unwrap_or(now);
            push(&mut group.submitted, (number, Submitted { read, sent: now, bytes }));
        }
    }

    /// A batch of `group` was committed in this proxy's epoch; with submissions of the proxy up to this one in its entry,
    /// if any.
    pub fn committed(&mut self, group: GroupId, position: Position, number: Option<u64>, now: Instant) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let submitted = number.and_then(|number| state.take_submitted(number));
        push(&mut state.underway, Underway { position, submitted, committed: now });
        if let Some(Submitted { read, sent, bytes }) = submitted
            && let Some(trace) = self.tracer.batch(group, position)
        {
            trace.ingress(Interval { from: read, to: sent }, bytes);
        }
    }

    /// `quorum` equal votes for this proxy are there, cast by `seats` (bit 0 is seat 0). Positions only rise.
    pub fn agreed(&mut self, group: GroupId, position: Position, quorum: u8, seats: u8, now: Instant) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        while state.underway.front().is_some_and(|batch| batch.position < position) {
            state.underway.pop_front();
        }
        let Some(batch) = state.underway.pop_front_if(|batch| batch.position == position) else { return };
        let vote = Interval { from: batch.committed, to: now };
        state.metrics.vote_wait.observe(now.saturating_duration_since(vote.from));
        let read = batch.submitted.map(|submitted| submitted.read);
        if let Some(read) = read {
            state.metrics.end_to_end.observe(now.saturating_duration_since(read));
        }
        let whole = Interval { from: read.unwrap_or(vote.from), to: now };
        let Some(trace) = self.tracer.stage(group, position, whole) else { return };
        trace.vote(vote, quorum, seats);
        if let Some(Submitted { read, sent, bytes }) = batch.submitted.filter(|_| !trace.is_traced()) {
            // Only now is it known to be slow.
            trace.ingress(Interval { from: read, to: sent }, bytes);
        }
    }

    /// So many bytes of the position's effects, which were agreed on at `agreed`, were given to sockets.
    pub fn written(
        &mut self,
        group: GroupId,
        position: Position,
        bytes: u64,
        agreed: Instant,
        now: impl FnOnce() -> Instant,
    ) {
        let Some(state) = self.groups.get(&group) else { return };
        state.metrics.sent_bytes.inc_by(bytes);
        // The clock is read for those alone that are traced.
        if let Some(trace) = self.tracer.batch(group, position) {
            trace.egress(Interval { from: agreed, to: now() }, bytes);
        }
    }
}

impl Group {
    /// The first submission of those up to this number, all of which are committed.
    fn take_submitted(&mut self, number: u64) -> Option<Submitted> {
        let first = self.submitted.pop_front_if(|(first, _)| *first <= number);
        while self.submitted.pop_front_if(|(next, _)| *next <= number).is_some() {}
        first.map(|(_, submitted)| submitted)
    }
}

/// Keeps the newest.
fn push<T>(queue: &mut VecDeque<T>, newest: T) {
    if queue.len() == JOURNEYS_MAX {
        queue.pop_front();
    }
    queue.push_back(newest);
}

#[cfg(test)]
mod tests;
