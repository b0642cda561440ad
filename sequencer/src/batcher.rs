//! Batching: what is pending becomes the next draft. Pure: no timers, no clock, no I/O.
//!
//! - A draft takes the leader's own records (controls, ticks) first, then submissions, one epoch after another in
//!   turn, as many as fit. What does not fit waits; the order within an epoch is kept. The turn begins with
//!   another epoch each time, and a draft is bounded, so nobody waits for more than the others' drafts.
//! - Where the records of a submission begin in a batch stands an origin mark, unless the records before it are
//!   of the same epoch.
//! - One draft is on its way at a time: [`Batcher::take`], then [`Batcher::ordered`] or [`Batcher::failed`].
//! - Records that are pending, on their way, or ordered and not yet executed count against the limits of their
//!   group. Records that bring load (open, data) and records that relieve (all others) have limits of their own,
//!   so relief is never refused because of load. Controls and ticks of the leader have a share of every draft.

use std::collections::{BTreeMap, VecDeque};

use refrain_wire::entry::Draft;
use refrain_wire::{Control, Epoch, GroupId, Position, SubmissionId, Time};

mod draft;
mod leader;
mod load;
mod submission;

pub use load::{Limits, Usage};
pub use submission::{Refused, Submission};

use draft::DraftBuilder;
use leader::LeaderRecords;
use load::{Load, Weight};
use submission::weigh;

struct Pending {
    submission: Submission,
    weights: Vec<(GroupId, Weight)>,
}

struct EpochQueue {
    next: u64,
    pending: VecDeque<Pending>,
}

/// What a draft that failed contained.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Returned {
    /// Submissions that were not ordered, those that waited behind the draft included.
    pub submissions: Vec<SubmissionId>,
    /// Controls that were not ordered.
    pub controls: Vec<(GroupId, Control)>,
}

#[derive(Default)]
struct InFlight {
    submissions: Vec<SubmissionId>,
    weights: Vec<(GroupId, Weight)>,
    controls: Vec<(GroupId, Control)>,
    ticks: Vec<GroupId>,
}

/// The pending records of a shard's leader.
pub struct Batcher {
    limits: Limits,
    epochs: BTreeMap<Epoch, EpochQueue>,
    leader: LeaderRecords,
    loads: BTreeMap<GroupId, Load>,
    in_flight: Option<InFlight>,
    last_first: Epoch,
}

impl Batcher {
    /// Nothing pending, no epoch open.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            epochs: BTreeMap::new(),
            leader: LeaderRecords::default(),
            loads: BTreeMap::new(),
            in_flight: None,
            last_first: Epoch(0),
        }
    }

    /// Submissions of `epoch` are taken from now on, the one after `last` first.
    pub fn open_epoch(&mut self, epoch: Epoch, last: u64) {
        self.epochs.insert(epoch, EpochQueue { next: last.saturating_add(1), pending: VecDeque::new() });
    }

    /// Submissions of `epoch` up to `last` were applied, here or by an earlier leader: the next one follows.
    pub fn applied(&mut self, epoch: Epoch, last: u64) {
        if let Some(queue) = self.epochs.get_mut(&epoch) {
            queue.next = queue.next.max(last.saturating_add(1));
        }
    }

    /// Submissions of `epoch` are no longer taken; returns those that were pending.
    pub fn end_epoch(&mut self, epoch: Epoch) -> Vec<SubmissionId> {
        let queue = self.epochs.remove(&epoch);
        queue.map_or_else(Vec::new, |queue| self.release(queue.pending))
    }

    /// Drops what is pending of `epoch`; the submission after `last` is taken next. Returns what was dropped.
    pub fn rewind(&mut self, epoch: Epoch, last: u64) -> Vec<SubmissionId> {
        let Some(queue) = self.epochs.get_mut(&epoch) else { return Vec::new() };
        queue.next = last.saturating_add(1);
        let pending = std::mem::take(&mut queue.pending);
        self.release(pending)
    }

    fn release(&mut self, pending: VecDeque<Pending>) -> Vec<SubmissionId> {
        for (group, weight) in pending.iter().flat_map(|pending| &pending.weights) {
            self.load(*group).release(*weight);
        }
        pending.into_iter().map(|pending| pending.submission.id).collect()
    }

    fn load(&mut self, group: GroupId) -> &mut Load {
        self.loads.entry(group).or_default()
    }

    /// Takes a submission, or refuses it as a whole; a refused number may be offered again with other records.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn offer(&mut self, submission: Submission) -> Result<(), Refused> {
        let id = submission.id;
        let queue = self.epochs.get(&id.epoch).ok_or(Refused::UnknownEpoch { epoch: id.epoch })?;
        if id.number != queue.next {
            return Err(Refused::OutOfOrder { expected: queue.next, found: id.number });
        }
        let weights = weigh(&submission)?;
        for (group, weight) in &weights {
            let load = self.loads.get(group).copied_usage();
            load.admit(*group, *weight, &self.limits)?;
        }
        for (group, weight) in &weights {
            self.load(*group).take(*weight);
        }
        let queue = self.epochs.get_mut(&id.epoch).expect("found above");
        queue.next += 1;
        queue.pending.push_back(Pending { submission, weights });
        Ok(())
    }

    /// Wants a turn of `group` that was due at `time`. Wishes are merged, and one that an ordered tick fulfils is
    /// not repeated before that was executed.
    pub fn tick(&mut self, group: GroupId, time: Time) {
        if self.load(group).wants_tick(time) {
            self.leader.tick(group, time);
        }
    }

    /// Wants a control of the leader ordered.
    ///
    /// # Errors
    /// `Busy` when too many controls of the group are pending.
    pub fn control(&mut self, group: GroupId, control: Control) -> Result<(), Refused> {
        self.leader.push(group, control)
    }

    /// Wants a control ordered before all others that are pending for the group.
    pub fn control_first(&mut self, group: GroupId, control: Control) {
        self.leader.push_first(group, control);
    }

    /// Whether anything is pending.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.leader.is_empty() && self.epochs.values().all(|queue| queue.pending.is_empty())
    }

    /// The next draft, at the time `now`; `None` when nothing is pending.
    ///
    /// # Panics
    /// When the last draft was neither ordered nor failed.
    pub fn take(&mut self, now: Time) -> Option<Draft> {
        assert!(self.in_flight.is_none(), "one draft is on its way at a time");
        if self.is_idle() {
            return None;
        }
        let mut builder = DraftBuilder::default();
        let mut in_flight = InFlight::default();
        self.leader.take(&mut builder, &mut in_flight.controls, &mut in_flight.ticks);
        for group in &in_flight.ticks {
            self.loads.entry(*group).or_default().tick_taken();
        }
        self.take_submissions(&mut builder, &mut in_flight);
        self.in_flight = Some(in_flight);
        Some(builder.finish(now))
    }

    fn take_submissions(&mut self, builder: &mut DraftBuilder, in_flight: &mut InFlight) {
        let first = self.last_first;
        let mut turn: VecDeque<Epoch> =
            self.epochs.range(Epoch(first.0.saturating_add(1))..).map(|(e, _)| *e).collect();
        turn.extend(self.epochs.range(..=first).map(|(epoch, _)| *epoch));
        let mut began = None;
        while let Some(epoch) = turn.pop_front() {
            let queue = self.epochs.get_mut(&epoch).expect("the turn is made of epochs");
            let Some(pending) = queue.pending.pop_front_if(|pending| builder.fits(&pending.submission)) else {
                continue;
            };
            began = began.or(Some(epoch));
            builder.add(&pending.submission);
            in_flight.submissions.push(pending.submission.id);
            in_flight.weights.extend(pending.weights);
            turn.push_back(epoch);
        }
        self.last_first = began.unwrap_or(self.last_first);
    }

    /// The draft was ordered at `position`, and the groups in `given` were given a batch of it.
    pub fn ordered(&mut self, position: Position, given: impl Fn(GroupId) -> bool) {
        let Some(in_flight) = self.in_flight.take() else { return };
        for (group, weight) in in_flight.weights {
            let load = self.load(group);
            if given(group) { load.ordered(position, weight) } else { load.release(weight) }
        }
        for group in in_flight.ticks {
            self.load(group).tick_ordered(given(group).then_some(position));
        }
    }

    /// The draft was not ordered: everything that is pending is given up, so that its senders can be told. Each
    /// epoch goes on after the submission that `last` names for it.
    pub fn failed(&mut self, last: impl Fn(Epoch) -> u64) -> Returned {
        let in_flight = self.in_flight.take().unwrap_or_default();
        for (group, weight) in in_flight.weights {
            self.load(group).release(weight);
        }
        for group in in_flight.ticks {
            self.load(group).tick_ordered(None);
        }
        self.loads.values_mut().for_each(Load::forget_tick);
        let mut returned = Returned { submissions: in_flight.submissions, controls: in_flight.controls };
        returned.controls.extend(self.leader.clear());
        let epochs: Vec<Epoch> = self.epochs.keys().copied().collect();
        for epoch in epochs {
            returned.submissions.extend(self.rewind(epoch, last(epoch)));
        }
        returned
    }

    /// A quorum of the group's seats has executed everything up to `position`.
    pub fn executed(&mut self, group: GroupId, position: Position) {
        if let Some(load) = self.loads.get_mut(&group) {
            load.executed(position);
        }
    }

    /// What counts against the limits of `group`.
    #[must_use]
    pub fn usage(&self, group: GroupId) -> Usage {
        self.loads.get(&group).copied_usage()
    }
}

/// The usage of a load that may not be there.
trait CopiedUsage {
    fn copied_usage(self) -> Usage;
}

impl CopiedUsage for Option<&Load> {
    fn copied_usage(self) -> Usage {
        self.map_or_else(Usage::default, Load::usage)
    }
}

#[cfg(test)]
mod tests;
