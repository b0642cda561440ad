//! Submissions: everything that waits, cut so that it fits into one entry, numbered and kept until committed.

use std::collections::BTreeSet;

use refrain_wire::entry::GroupRecords;
use refrain_wire::limits::{MAX_SUBMISSION_BYTES, MAX_SUBMISSION_GROUPS};
use refrain_wire::record::records;
use refrain_wire::{GroupId, Record, RecordWriter, ResetReason, Serial, SubmissionId};

use super::flow::Ending;
use super::group::Group;
use super::{Nat, end, resume_choked};

/// Records to be ordered together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its number within the epoch.
    pub id: SubmissionId,
    /// At most one element a group, in ascending order of groups; the sequencer marks whose they are.
    pub batches: Vec<GroupRecords>,
}

/// What was taken out of the submissions on their way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GivenUp {
    /// The flows that are over.
    pub over: Vec<Serial>,
    /// How many datagrams were dropped.
    pub datagrams: usize,
}

impl GivenUp {
    /// Whether there was nothing to give up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.over.is_empty() && self.datagrams == 0
    }
}

/// A record that does nothing: no flow has this serial.
const NOTHING: Record = Record::Credit { serial: Serial(0), delivered: 0 };

/// Pieces gathered for one submission.
#[derive(Default)]
struct Gathered {
    batches: Vec<GroupRecords>,
    bytes: usize,
    no_room_for: Option<GroupId>,
}

impl Gathered {
    fn take(&mut self, id: GroupId, group: &mut Group) {
        if !group.is_due() || self.no_room_for.is_some() {
            return;
        }
        let bytes = group.front_len();
        if self.batches.len() == MAX_SUBMISSION_GROUPS || self.bytes + bytes > MAX_SUBMISSION_BYTES {
            self.no_room_for = Some(id);
            return;
        }
        if let Some(records) = group.pop() {
            self.bytes += bytes;
            self.batches.push(GroupRecords { group: id, records });
        }
    }
}

impl Nat {
    /// Whether [`Nat::take_submission`] would return one.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.groups.values().any(Group::is_due)
    }

    /// Submissions that were taken and not told committed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Everything that waits, as far as it fits into one entry. A group that found no room is first the next time.
    pub fn take_submission(&mut self) -> Option<Submission> {
        let mut gathered = Gathered::default();
        let first = self.next_group;
        for (id, group) in self.groups.range_mut(first..) {
            gathered.take(*id, group);
        }
        for (id, group) in self.groups.range_mut(..first) {
            gathered.take(*id, group);
        }
        if gathered.batches.is_empty() {
            return None;
        }
        self.next_group = gathered.no_room_for.unwrap_or_default();
        gathered.batches.sort_unstable_by_key(|batch| batch.group);
        for batch in &gathered.batches {
            if let Some(group) = self.groups.get_mut(&batch.group) {
                resume_choked(&mut self.flows, group, &mut self.resumed);
            }
        }
        let submission =
            Submission { id: SubmissionId { epoch: self.epoch, number: self.next_number }, batches: gathered.batches };
        self.next_number += 1;
        self.unacknowledged.push_back(submission.clone());
        Some(submission)
    }

    /// The submission, and all before it, are committed: they need not be sent again.
    pub fn committed(&mut self, id: SubmissionId) {
        if id.epoch != self.epoch {
            return;
        }
        while self.unacknowledged.front().is_some_and(|s| s.id.number <= id.number) {
            self.unacknowledged.pop_front();
        }
    }

    /// The sequencer was given the submission: it may be ordered, whatever is heard of it.
    pub fn given(&mut self, id: SubmissionId) {
        if id.epoch == self.epoch {
            self.given = self.given.max(id.number);
        }
    }

    /// The submissions that are not committed, in order, when `applied` is the number of the last that is.
    pub fn resend_after(&mut self, applied: u64) -> Vec<Submission> {
        self.committed(SubmissionId { epoch: self.epoch, number: applied });
        self.unacknowledged.iter().cloned().collect()
    }

    /// The submissions from this number on, in order, when a leader says that it is the next. Those before it are
    /// kept: the leader has them, but may lose them. Nothing when the leader wants one that was committed long ago,
    /// as it is behind.
    #[must_use]
    pub fn resend_from(&self, expected: SubmissionId) -> Vec<Submission> {
        let oldest = self.unacknowledged.front().map(|submission| submission.id.number);
        if expected.epoch != self.epoch || oldest.is_none_or(|oldest| expected.number < oldest) {
            return Vec::new();
        }
        self.unacknowledged.iter().filter(|submission| submission.id.number >= expected.number).cloned().collect()
    }

    /// The log has no room for the submissions that are on their way: the data and opens in them are given up, and
    /// their flows are over, so that what is left under the same numbers needs almost none. Datagrams are dropped. A batch
    /// of which nothing is left has a record that does nothing.
    ///
    /// Should one of them be committed after all as it was, as an earlier leader had it and this was not known, what is
    /// left under its number is dropped. So the end of each flow is told once more in what is submitted next.
    pub fn give_up(&mut self) -> GivenUp {
        let mut over = BTreeSet::new();
        let mut datagrams = 0;
        for batch in self.unacknowledged.iter_mut().flat_map(|submission| &mut submission.batches) {
            let mut refused = BTreeSet::new();
            let mut writer = RecordWriter::default();
            for record in records(&batch.records) {
                match record.expect("the table wrote these records itself") {
                    Record::Open { serial, .. } | Record::Data { serial, .. } => drop(refused.insert(serial)),
                    Record::Datagram { .. } => datagrams += 1,
                    relief => writer.push(&relief),
                }
            }
            for serial in &refused {
                writer.push(&Record::Reset { serial: *serial, reason: ResetReason::Operator });
            }
            if writer.is_empty() {
                // The number has to be ordered all the same, and nothing is ordered that is empty.
                writer.push(&NOTHING);
            }
            batch.records = writer.take();
            over.extend(refused.into_iter().filter_map(|serial| self.calls.key_of(batch.group, serial)));
        }
        for key in &over {
            let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.ending.is_none()) else { continue };
            if let Some(group) = self.groups.get_mut(&flow.group) {
                group.reset(ResetReason::Operator, flow);
                end(flow, group, Ending::Refused);
            }
        }
        GivenUp { over: over.into_iter().collect(), datagrams }
    }
}
