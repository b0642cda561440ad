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
//!   twice) is dropped and cut out, so that nobody acts on it. One that is not understood is an error: others may
//!   understand it.
//! - A group that is halted is given the leader's records alone.
//! - A record that opens an epoch and was sent twice opens it once.
//! - Versions of a stateless service are changed by records that name the one that they follow: of two that were made
//!   at once the first counts, and the other one is dropped.
//! - A service is a group here or placed on another shard, never both: whichever record comes first counts.
//! - Of each group it is known what its turns come to since its checkpoint was asked for, or since its first turn.
//! - Time and term never go back.
//!
//! The state after any entry can be encoded; what is decoded goes on exactly as the original would.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use refrain_wire::batch::BATCH_FRAME_BYTES;
use refrain_wire::control::Release;
use refrain_wire::outward::Owner;
use refrain_wire::{
    Batch, Control, DecodeError, Entry, Epoch, GroupId, Position, ProxyId, ShardControl, ShardId, SubmissionId, Time,
};

mod applied;
mod codec;
mod cut;
mod group;
mod history;
mod seat;

pub use applied::{Applied, OpenedEpoch, TermEntropy};
pub use group::{CAPTURE_PATIENCE, Capture, Checkpoint, Group, MAX_EARLIER_PROGRAMS, Program};
pub use history::{HISTORY_FRAME_BYTES, MAX_TURN_BYTES, Recorded, RecordedTurn};
pub use seat::{QUARANTINE_MEMORY, SeatState};

use cut::Leading;
use group::At;

/// The most groups of a shard.
pub const MAX_GROUPS: usize = 65_536;
/// The most services that the first shard can have placed on others.
pub const MAX_PLACED: usize = 65_536;
/// The most stateless services that are deployed.
pub const MAX_DEPLOYED: usize = 4096;

/// The versions of a stateless service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The position of the record that made them what they are.
    pub at: Position,
    /// Sorted by version, one at least.
    pub releases: Vec<Release>,
}

/// An open epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochState {
    /// The proxy whose run it is.
    pub proxy: ProxyId,
    /// The last submission that was applied; 0 before the first.
    pub last: u64,
    /// What its proxy chose to know its record by.
    pub nonce: u64,
    /// The position of its record: votes up to there are not for it.
    pub opened_at: Position,
    /// Whether guests' outward calls may be given to it.
    pub outward: bool,
}

/// The state after the last applied entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShardState {
    position: Position,
    time: Time,
    term: u64,
    /// The randomness of all terms: BLAKE3 of what it was before and a term's entropy, for each term. Zero before
    /// the first.
    fold: [u8; 32],
    last_epoch: Epoch,
    epochs: BTreeMap<Epoch, EpochState>,
    groups: BTreeMap<GroupId, Group>,
    services: BTreeSet<String>,
    placed: BTreeMap<String, ShardId>,
    deployed: BTreeMap<String, Deployment>,
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

    /// Stateless services, in the state of the first shard.
    #[must_use]
    pub fn deployed(&self) -> &BTreeMap<String, Deployment> {
        &self.deployed
    }

    /// Services that other shards have, in the state of the first one.
    #[must_use]
    pub fn placed(&self) -> &BTreeMap<String, ShardId> {
        &self.placed
    }

    /// Applies the next committed entry.
    ///
    /// # Errors
    /// When a record of the leader is not understood; nothing is applied then, and nothing after it can be.
    ///
    /// # Panics
    /// When the entry does not stand after the last one: a log delivers once and in order.
    pub fn apply(&mut self, entry: &Entry) -> Result<Applied, DecodeError> {
        assert!(entry.position > self.position, "a log delivers once and in order");
        let leading = entry.batches.iter().map(|batch| cut::leading(&batch.records));
        let leading: Vec<Leading> = leading.collect::<Result<_, _>>()?;
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
            fold: self.fold,
            ..Applied::default()
        };
        for id in &applied.accepted {
            if let Some(epoch) = self.epochs.get_mut(&id.epoch) {
                epoch.last = id.number;
            }
        }
        if entry.batches.iter().any(|batch| self.may_create(batch.group)) {
            applied.owners = self.owners();
        }
        for (batch, leading) in entry.batches.iter().zip(leading) {
            self.apply_batch(batch, leading, &counting, &mut applied);
        }
        self.note_turns(&applied);
        Ok(applied)
    }

    /// Whether a batch of this group can create it.
    fn may_create(&self, group: GroupId) -> bool {
        group != GroupId::SHARD && !self.groups.contains_key(&group)
    }

    /// The epochs to which outward calls may be given.
    fn owners(&self) -> Vec<Owner> {
        let outward = self.epochs.iter().filter(|(_, state)| state.outward);
        outward.map(|(epoch, state)| Owner { proxy: state.proxy, epoch: *epoch }).collect()
    }

    /// Every group that was given a batch has a turn, and so has every group when the shard has events.
    fn note_turns(&mut self, applied: &Applied) {
        if applied.concerns_all() {
            self.groups.values_mut().for_each(|group| group.last_turn = applied.position);
        }
        for batch in &applied.batches {
            if let Some(group) = self.groups.get_mut(&batch.group) {
                group.note_batch(applied.position, BATCH_FRAME_BYTES + batch.records.len());
            }
        }
        self.record_turns(applied);
        for (id, control) in &applied.controls {
            if let Some(group) = self.groups.get_mut(id) {
                group.note_control(control, applied.position);
            }
        }
    }

    /// Takes the turns of this entry into the groups' histories.
    fn record_turns(&mut self, applied: &Applied) {
        let mut turn = RecordedTurn {
            position: applied.position,
            time: applied.time,
            terms: applied.term.iter().map(|term| term.entropy).collect(),
            ended: applied.ended.clone(),
            opened: applied.opened_owners().collect(),
            records: Bytes::new(),
        };
        let head = turn.head();
        turn.terms.insert(0, applied.fold);
        turn.opened.splice(0..0, applied.owners.iter().copied());
        let first_head = turn.head();
        let record = |group: &mut Group, records: &[u8]| {
            let head = if group.created == applied.position { &first_head } else { &head };
            group.record(&[head, records]);
        };
        if applied.concerns_all() {
            let mut batches = applied.batches.iter().peekable();
            for (id, group) in &mut self.groups {
                let batch = batches.next_if(|batch| batch.group == *id);
                record(group, batch.map_or(&[], |batch| &batch.records));
            }
        } else {
            for batch in &applied.batches {
                if let Some(group) = self.groups.get_mut(&batch.group) {
                    record(group, &batch.records);
                }
            }
        }
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

    fn apply_batch(&mut self, batch: &Batch, leading: Leading, counting: &BTreeSet<Epoch>, applied: &mut Applied) {
        let halted = self.groups.get(&batch.group).is_some_and(|group| group.halted.is_some());
        let mut ignored = Vec::new();
        for (nth, control) in leading.controls {
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
            cut::cut(&batch.records, leading.first_origin, &ignored, keep)
        };
        if !records.is_empty() {
            applied.batches.push(Batch { time: self.time, records, ..batch.clone() });
        }
    }

    /// Acts on a control of the leader; false when it makes no sense.
    fn control(&mut self, id: GroupId, control: &Control, applied: &mut Applied) -> bool {
        let at = At { position: self.position, time: self.time };
        match control {
            Control::Shard(control) => id == GroupId::SHARD && self.shard_control(control, applied),
            _ if id == GroupId::SHARD => false,
            Control::Create { .. } => Group::created(control, at.position).is_some_and(|group| self.create(id, group)),
            other => self.groups.get_mut(&id).is_some_and(|group| group.control(other, at)),
        }
    }

    fn create(&mut self, id: GroupId, group: Group) -> bool {
        let known = self.groups.contains_key(&id) || self.is_somewhere(&group.service);
        if known || self.groups.len() >= MAX_GROUPS {
            return false;
        }
        self.services.insert(group.service.clone());
        self.groups.insert(id, group);
        true
    }

    /// Whether a service has a group here or was placed.
    fn is_somewhere(&self, service: &str) -> bool {
        self.services.contains(service) || self.placed.contains_key(service)
    }

    fn place(&mut self, service: &str, shard: ShardId) -> bool {
        if shard == ShardId::FIRST || self.is_somewhere(service) || self.placed.len() >= MAX_PLACED {
            return false;
        }
        self.placed.insert(service.to_owned(), shard);
        true
    }

    fn deploy(&mut self, service: &str, after: Position, releases: &[Release]) -> bool {
        let known = self.deployed.get(service).map_or(Position(0), |deployment| deployment.at);
        let is_new = known == Position(0);
        let has_no_room = is_new && self.deployed.len() >= MAX_DEPLOYED;
        // A replicated service of the name that came later keeps nobody from changing this one.
        let is_taken = is_new && self.is_somewhere(service);
        if after != known || has_no_room || is_taken || (is_new && releases.is_empty()) {
            return false;
        }
        match releases.is_empty() {
            true => drop(self.deployed.remove(service)),
            false => {
                let deployment = Deployment { at: self.position, releases: releases.to_vec() };
                self.deployed.insert(service.to_owned(), deployment);
            }
        }
        true
    }

    fn shard_control(&mut self, control: &ShardControl, applied: &mut Applied) -> bool {
        match control {
            ShardControl::Term { term, entropy } => {
                if *term <= self.term {
                    return false;
                }
                self.term = *term;
                self.fold = *blake3::Hasher::new().update(&self.fold).update(entropy).finalize().as_bytes();
                applied.term = Some(TermEntropy { term: *term, entropy: *entropy });
                true
            }
            ShardControl::OpenEpoch { proxy, nonce, outward } => self.open_epoch(*proxy, *nonce, *outward, applied),
            ShardControl::EndEpoch(epoch) => {
                let ended = self.epochs.remove(epoch).is_some();
                applied.ended.extend(ended.then_some(*epoch));
                ended
            }
            ShardControl::Place { service, shard } => {
                let placed = self.place(service, *shard);
                applied.placed |= placed;
                placed
            }
            ShardControl::Deploy { service, after, releases } => {
                let deployed = self.deploy(service, *after, releases);
                applied.deployed.extend(deployed.then(|| control.clone()));
                deployed
            }
        }
    }

    fn open_epoch(&mut self, proxy: ProxyId, nonce: u64, outward: bool, applied: &mut Applied) -> bool {
        let earlier = self.epochs.iter().find(|(_, state)| state.proxy == proxy).map(|(epoch, state)| (*epoch, *state));
        if let Some((epoch, _)) = earlier.filter(|(_, state)| state.nonce == nonce) {
            applied.reopened.push(OpenedEpoch { proxy, nonce, epoch, outward });
            return true;
        }
        let Some(next) = self.last_epoch.0.checked_add(1) else { return false };
        if let Some((epoch, _)) = earlier {
            self.epochs.remove(&epoch);
            applied.ended.push(epoch);
        }
        let epoch = Epoch(next);
        self.last_epoch = epoch;
        self.epochs.insert(epoch, EpochState { proxy, last: 0, nonce, opened_at: self.position, outward });
        applied.opened.push(OpenedEpoch { proxy, nonce, epoch, outward });
        true
    }
}

#[cfg(test)]
mod tests;
