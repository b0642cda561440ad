//! Putting one draft together within the limits of an entry.

use std::collections::BTreeMap;

use refrain_wire::batch::BATCH_FRAME_BYTES;
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::limits::{MAX_BATCH_BYTES, MAX_BATCHES_PER_ENTRY, MAX_ENTRY_BYTES, MAX_SUBMISSIONS_PER_ENTRY};
use refrain_wire::record::RECORD_HEADER_BYTES;
use refrain_wire::{Epoch, GroupId, Record, RecordWriter, SubmissionId, Time};

use super::Submission;

const SUBMISSION_BYTES: usize = 12;

#[derive(Default)]
struct Part {
    records: Vec<u8>,
    origin: Option<Epoch>,
}

#[derive(Default)]
pub(super) struct DraftBuilder {
    submissions: Vec<SubmissionId>,
    parts: BTreeMap<GroupId, Part>,
    bytes: usize,
}

impl DraftBuilder {
    /// Adds records of the leader itself; they stand before all others of the group.
    pub(super) fn lead(&mut self, group: GroupId, mut writer: RecordWriter) {
        self.bytes += BATCH_FRAME_BYTES + writer.len();
        self.parts.insert(group, Part { records: writer.take().into(), origin: None });
    }

    /// Whether the submission fits into what is left.
    pub(super) fn fits(&self, submission: &Submission) -> bool {
        let mut bytes = self.bytes + SUBMISSION_BYTES + 2;
        let mut groups = self.parts.len();
        for batch in &submission.batches {
            let part = self.parts.get(&batch.group);
            let added = RECORD_HEADER_BYTES + batch.records.len();
            if part.map_or(0, |part| part.records.len()) + added > MAX_BATCH_BYTES {
                return false;
            }
            bytes += added + part.map_or(BATCH_FRAME_BYTES, |_| 0);
            groups += usize::from(part.is_none());
        }
        bytes <= MAX_ENTRY_BYTES
            && groups <= MAX_BATCHES_PER_ENTRY
            && self.submissions.len() < MAX_SUBMISSIONS_PER_ENTRY
    }

    pub(super) fn add(&mut self, submission: &Submission) {
        self.submissions.push(submission.id);
        self.bytes += SUBMISSION_BYTES;
        for batch in &submission.batches {
            if !self.parts.contains_key(&batch.group) {
                self.bytes += BATCH_FRAME_BYTES;
            }
            let part = self.parts.entry(batch.group).or_default();
            let before = part.records.len();
            part.records.reserve(RECORD_HEADER_BYTES + batch.records.len());
            if part.origin != Some(submission.id.epoch) {
                let mut mark = RecordWriter::default();
                mark.push(&Record::Origin(submission.id.epoch));
                part.records.extend_from_slice(&mark.take());
                part.origin = Some(submission.id.epoch);
            }
            part.records.extend_from_slice(&batch.records);
            self.bytes += part.records.len() - before;
        }
    }

    pub(super) fn finish(self, time: Time) -> Draft {
        let batches = self.parts.into_iter().map(|(group, part)| GroupRecords { group, records: part.records.into() });
        Draft { time, submissions: self.submissions, batches: batches.collect() }
    }
}
