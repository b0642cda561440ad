//! The replicated state of a shard: what every member, proxy and engine derives alike from the committed entries.
//!
//! Pure: entries go in, what they mean comes out. It decides which submissions count, which epochs live, which
//! groups exist, who holds their seats, and what each group is given.
//!
//! - A submission counts when its epoch was open before the entry and its number is the last applied plus one.
//!   The submissions of one epoch in one entry stand or fall together: when they are not the next numbers without
//!   a gap, all are dropped, and the records after the epoch's origin marks are cut out of the batches.
//! - Only records before the first origin mark of a batch come from the leader, and only there are controls
//!   honoured. The batcher lets nothing but flow records into submissions.
//! - A control is in force from the next position; one that makes no sense (a seat that is not there, a name used
//!   twice) is dropped and cut out, so that nobody acts on it.
//! - A group that is halted is given the leader's records alone.
//! - Time and term never go back.

use std::collections::{BTreeMap, BTreeSet};

use refrain_wire::{Batch, Control, Entry, Epoch, GroupId, Position, ProxyId, ShardControl, SubmissionId, Time};

mod cut;
mod group;

pub use group::{Group, SeatState};

/// The most groups of a shard.
pub const MAX_GROUPS: usize = 65_536;

/// An open epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochState {
    /// The proxy whose run it is.
    pub proxy: ProxyId,
    /// The last submission that was applied; 0 before the first.
    pub last: u64,
}

/// An epoch that an entry opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedEpoch {
    /// For which proxy.
    pub proxy: ProxyId,
    /// What it chose to know its record by.
    pub nonce: u64,
    /// The epoch it got.
    pub epoch: Epoch,
}

/// The randomness of a leader's term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermEntropy {
    /// The term.
    pub term: u64,
    /// What keys the generators of all groups from here on, with that of earlier terms.
    pub entropy: [u8; 32],
}

/// What one entry means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Where the entry stands.
    pub position: Position,
    /// Log time; never less than before.
    pub time: Time,
    /// What each group is given, in ascending order; never the shard's own group, never an empty batch.
    pub batches: Vec<Batch>,
    /// Submissions that count.
    pub accepted: Vec<SubmissionId>,
    /// Submissions that were dropped.
    pub dropped: Vec<SubmissionId>,
    /// Epochs that begin, in force from the next position.
    pub opened: Vec<OpenedEpoch>,
    /// Epochs that end, by a record of their own or because their proxy opened a new one. Their flows are reset
    /// after the records of this entry.
    pub ended: Vec<Epoch>,
    /// The randomness of a new term.
    pub term: Option<TermEntropy>,
    /// Controls of groups that were honoured.
    pub controls: Vec<(GroupId, Control)>,
    /// Controls that made no sense and were dropped.
    pub ignored: Vec<(GroupId, Control)>,
    /// Groups are given less than the entry has for them: whoever reads the entry later needs `batches` as well.
    pub cut: bool,
}

/// The state after the last applied entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShardState {
    position: Position,
    time: Time,
    term: u64,
    last_epoch: Epoch,
    epochs: BTreeMap<Epoch, EpochState>,
    groups: BTreeMap<GroupId, Group>,
    services: BTreeSet<String>,
}

impl ShardState {
    /// The state before the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The last applied entry.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The time of the last applied entry.
    #[must_use]
    pub fn time(&self) -> Time {
        self.time
    }

    /// The last term whose randomness is known.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The open epochs.
    #[must_use]
    pub fn epochs(&self) -> &BTreeMap<Epoch, EpochState> {
        &self.epochs
    }

    /// All groups.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<GroupId, Group> {
        &self.groups
    }

    /// Applies the next committed entry.
    ///
    /// # Panics
    /// When the entry does not stand after the last one: a log delivers once and in order.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        assert!(entry.position > self.position, "a log delivers once and in order");
        self.position = entry.position;
        self.time = self.time.max(entry.time);
        let (accepted, dropped) = self.judge(&entry.submissions);
        let counting: BTreeSet<Epoch> = accepted.iter().map(|id| id.epoch).collect();
        let mut applied = Applied {
            position: entry.position,
            time: self.time,
            batches: Vec::with_capacity(entry.batches.len()),
            accepted,
            dropped,
            opened: Vec::new(),
            ended: Vec::new(),
            term: None,
            controls: Vec::new(),
            ignored: Vec::new(),
            cut: false,
        };
        for id in &applied.accepted {
            if let Some(epoch) = self.epochs.get_mut(&id.epoch) {
                epoch.last = id.number;
            }
        }
        for batch in &entry.batches {
            self.apply_batch(batch, &counting, &mut applied);
        }
        applied
    }

    /// Tells the submissions that count from those that do not.
    fn judge(&self, submissions: &[SubmissionId]) -> (Vec<SubmissionId>, Vec<SubmissionId>) {
        let mut last: BTreeMap<Epoch, Option<u64>> = BTreeMap::new();
        for id in submissions {
            let known = self.epochs.get(&id.epoch).map(|epoch| epoch.last);
            let before = last.entry(id.epoch).or_insert(known);
            *before = before.filter(|last| last.checked_add(1) == Some(id.number)).map(|last| last + 1);
        }
        submissions.iter().partition(|id| last[&id.epoch].is_some())
    }

    fn apply_batch(&mut self, batch: &Batch, counting: &BTreeSet<Epoch>, applied: &mut Applied) {
        let halted = self.groups.get(&batch.group).is_some_and(|group| group.halted.is_some());
        let (controls, first_origin) = cut::leader_controls(&batch.records);
        let mut ignored = Vec::new();
        for (nth, control) in controls {
            if self.control(batch.group, &control, applied) {
                if batch.group != GroupId::SHARD {
                    applied.controls.push((batch.group, control));
                }
            } else {
                ignored.push(nth);
                applied.ignored.push((batch.group, control));
            }
        }
        if batch.group == GroupId::SHARD || !self.groups.contains_key(&batch.group) {
            return;
        }
        let whole = applied.dropped.is_empty() && ignored.is_empty() && !halted;
        applied.cut |= !whole;
        let records = if whole {
            batch.records.clone()
        } else {
            let keep = |epoch| !halted && counting.contains(&epoch);
            cut::cut(&batch.records, first_origin, &ignored, keep)
        };
        if !records.is_empty() {
            applied.batches.push(Batch { time: self.time, records, ..batch.clone() });
        }
    }

    /// Acts on a control of the leader; false when it makes no sense.
    fn control(&mut self, id: GroupId, control: &Control, applied: &mut Applied) -> bool {
        match control {
            Control::Shard(control) => id == GroupId::SHARD && self.shard_control(control, applied),
            _ if id == GroupId::SHARD => false,
            Control::Create { .. } => Group::created(control).is_some_and(|group| self.create(id, group)),
            other => self.groups.get_mut(&id).is_some_and(|group| group.control(other)),
        }
    }

    fn create(&mut self, id: GroupId, group: Group) -> bool {
        let known = self.groups.contains_key(&id) || self.services.contains(&group.service);
        if known || self.groups.len() >= MAX_GROUPS {
            return false;
        }
        self.services.insert(group.service.clone());
        self.groups.insert(id, group);
        true
    }

    fn shard_control(&mut self, control: &ShardControl, applied: &mut Applied) -> bool {
        match control {
            ShardControl::Term { term, entropy } => {
                if *term <= self.term {
                    return false;
                }
                self.term = *term;
                applied.term = Some(TermEntropy { term: *term, entropy: *entropy });
                true
            }
            ShardControl::OpenEpoch { proxy, nonce } => self.open_epoch(*proxy, *nonce, applied),
            ShardControl::EndEpoch(epoch) => {
                let ended = self.epochs.remove(epoch).is_some();
                applied.ended.extend(ended.then_some(*epoch));
                ended
            }
        }
    }

    fn open_epoch(&mut self, proxy: ProxyId, nonce: u64, applied: &mut Applied) -> bool {
        let Some(next) = self.last_epoch.0.checked_add(1) else { return false };
        let earlier: Vec<Epoch> =
            self.epochs.iter().filter(|(_, state)| state.proxy == proxy).map(|(epoch, _)| *epoch).collect();
        for epoch in earlier {
            self.epochs.remove(&epoch);
            applied.ended.push(epoch);
        }
        let epoch = Epoch(next);
        self.last_epoch = epoch;
        self.epochs.insert(epoch, EpochState { proxy, last: 0 });
        applied.opened.push(OpenedEpoch { proxy, nonce, epoch });
        true
    }
}

#[cfg(test)]
mod tests;
