//! An entry: everything that the leader appends at one position of the shard's log.
//!
//! `submissions u16 | (epoch u32, number u64)* | batch*`. The segment that holds an entry adds its length,
//! checksum and term; a group has at most one batch in an entry.

use bytes::Bytes;

use crate::batch::{BATCH_FRAME_BYTES, Batch, put_batch, read_batch};
use crate::limits::{MAX_BATCHES_PER_ENTRY, MAX_ENTRY_BYTES, MAX_SUBMISSIONS_PER_ENTRY};
use crate::reader::{DecodeError, Reader, bounded};
use crate::{Epoch, GroupId, Position, SubmissionId, Time};

/// The records that one group gets in an entry that has no position yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecords {
    /// Whom they are for.
    pub group: GroupId,
    /// Encoded records.
    pub records: Bytes,
}

/// An entry before it has a position: what the batcher hands to the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// Log time of every batch in the entry.
    pub time: Time,
    /// The submissions that the entry contains, in their order.
    pub submissions: Vec<SubmissionId>,
    /// One element a group, in ascending order of groups.
    pub batches: Vec<GroupRecords>,
}

impl Draft {
    /// The entry's bytes at `position`, as they go to disk, followers and engines.
    #[must_use]
    pub fn encode(&self, position: Position) -> Bytes {
        let payload: usize = self.batches.iter().map(|b| BATCH_FRAME_BYTES + b.records.len()).sum();
        let mut out = Vec::with_capacity(2 + self.submissions.len() * 12 + payload);
        out.extend_from_slice(&(self.submissions.len() as u16).to_le_bytes());
        for id in &self.submissions {
            out.extend_from_slice(&id.epoch.0.to_le_bytes());
            out.extend_from_slice(&id.number.to_le_bytes());
        }
        for batch in &self.batches {
            put_batch(&mut out, batch.group, position, self.time, &batch.records);
        }
        Bytes::from(out)
    }
}

/// A decoded entry. The batches share the buffer that it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands in the log.
    pub position: Position,
    /// Log time; that of its batches.
    pub time: Time,
    /// The submissions that it contains, in their order.
    pub submissions: Vec<SubmissionId>,
    /// One batch a group, in ascending order of groups.
    pub batches: Vec<Batch>,
}

impl Entry {
    /// Decodes the entry that stands at `position`; a batch that names another position is refused.
    pub fn decode(position: Position, bytes: &Bytes) -> Result<Self, DecodeError> {
        bounded("entry length", bytes.len(), MAX_ENTRY_BYTES)?;
        let mut reader = Reader::new(bytes);
        let count = usize::from(reader.u16("submission count")?);
        bounded("submission count", count, MAX_SUBMISSIONS_PER_ENTRY)?;
        let submissions = (0..count)
            .map(|_| {
                Ok(SubmissionId {
                    epoch: Epoch(reader.u32("submission epoch")?),
                    number: reader.u64("submission number")?,
                })
            })
            .collect::<Result<Vec<_>, DecodeError>>()?;
        let batches = read_batches(&mut reader, position)?;
        let time = batches.first().map_or(Time::default(), |batch| batch.time);
        Ok(Self { position, time, submissions, batches })
    }
}

fn read_batches(reader: &mut Reader<'_>, position: Position) -> Result<Vec<Batch>, DecodeError> {
    let mut batches: Vec<Batch> = Vec::new();
    while !reader.is_empty() {
        bounded("batch count", batches.len() + 1, MAX_BATCHES_PER_ENTRY)?;
        let batch = read_batch(reader)?;
        if batch.position != position {
            return Err(DecodeError::Unknown { what: "batch position", value: batch.position.0 });
        }
        if let Some(last) = batches.last() {
            if last.group >= batch.group {
                return Err(DecodeError::Unknown { what: "batch group order", value: u64::from(batch.group.0) });
            }
            if last.time != batch.time {
                return Err(DecodeError::Unknown { what: "batch time", value: batch.time.micros() });
            }
        }
        batches.push(batch);
    }
    Ok(batches)
}
