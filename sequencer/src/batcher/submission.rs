//! What a proxy submits, and why it may be refused.

use refrain_wire::entry::GroupRecords;
use refrain_wire::limits::{MAX_SUBMISSION_BATCH_BYTES, MAX_SUBMISSION_BYTES, MAX_SUBMISSION_GROUPS};
use refrain_wire::record::records;
use refrain_wire::{DecodeError, Epoch, GroupId, Record, SubmissionId};

use super::load::Weight;

/// Records of one proxy, ordered together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The epoch and the number after that of the last submission.
    pub id: SubmissionId,
    /// Flow records (open, data, shutdown, reset, credit) of each group; a group stands there once.
    pub batches: Vec<GroupRecords>,
}

/// Why a submission or control was refused. It was not ordered and will not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The group has too many records that were not executed yet. Offer it again later, or without this group's
    /// open and data records.
    #[error("group {group} is busy: {what} ordered and not yet executed have reached the limit of {limit}")]
    Busy {
        /// The group.
        group: GroupId,
        /// Which limit.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It does not fit into a batch or an entry.
    #[error("the submission's {what} is {value}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        value: usize,
        /// The most allowed.
        limit: usize,
    },
    /// The number is not the next one.
    #[error("submission {found} was offered, {expected} is next")]
    OutOfOrder {
        /// The next number.
        expected: u64,
        /// The number offered.
        found: u64,
    },
    /// The epoch was never opened, or is over.
    #[error("epoch {epoch} is not open")]
    UnknownEpoch {
        /// The epoch.
        epoch: Epoch,
    },
    /// There is no such group.
    #[error("group {group} does not exist")]
    UnknownGroup {
        /// The group.
        group: GroupId,
    },
    /// A group stands there twice, or is the shard's own.
    #[error("group {group} cannot stand here")]
    WrongGroup {
        /// The group.
        group: GroupId,
    },
    /// Proxies submit flow records alone.
    #[error("group {group} was sent a record that only the leader may order")]
    Forbidden {
        /// The group.
        group: GroupId,
    },
    /// There is nothing in it, or nothing for one of its groups.
    #[error("the submission lacks records")]
    Empty,
    /// The records cannot be decoded.
    #[error("the records for group {group} are malformed")]
    Malformed {
        /// The group.
        group: GroupId,
        /// What is wrong.
        source: DecodeError,
    },
    /// This member does not lead the log.
    #[error("this member does not lead the log")]
    NotLeader,
    /// The log has failed or was closed.
    #[error("the log takes nothing more")]
    Stopped,
}

fn bounded(what: &'static str, value: usize, limit: usize) -> Result<(), Refused> {
    if value > limit { Err(Refused::TooLarge { what, value, limit }) } else { Ok(()) }
}

/// Checks a submission by itself; returns what it adds to the load of each group.
pub(super) fn weigh(submission: &Submission) -> Result<Vec<(GroupId, Weight)>, Refused> {
    if submission.batches.is_empty() || submission.batches.iter().any(|batch| batch.records.is_empty()) {
        return Err(Refused::Empty);
    }
    bounded("number of groups", submission.batches.len(), MAX_SUBMISSION_GROUPS)?;
    let total = submission.batches.iter().map(|batch| batch.records.len()).sum();
    bounded("size in bytes", total, MAX_SUBMISSION_BYTES)?;
    let mut weights: Vec<(GroupId, Weight)> = Vec::with_capacity(submission.batches.len());
    for batch in &submission.batches {
        let group = batch.group;
        if group == GroupId::SHARD || weights.iter().any(|(known, _)| *known == group) {
            return Err(Refused::WrongGroup { group });
        }
        bounded("size in bytes for one group", batch.records.len(), MAX_SUBMISSION_BATCH_BYTES)?;
        weights.push((group, weigh_records(batch)?));
    }
    Ok(weights)
}

fn weigh_records(batch: &GroupRecords) -> Result<Weight, Refused> {
    let group = batch.group;
    let mut weight = Weight::default();
    for record in records(&batch.records) {
        match record.map_err(|source| Refused::Malformed { group, source })? {
            Record::Open { .. } => weight.bulk.add(1, 0),
            Record::Data { bytes, .. } => weight.bulk.add(1, bytes.len()),
            Record::Datagram { bytes, .. } => weight.bulk.add(1, bytes.len()),
            Record::Shutdown(_)
            | Record::Reset { .. }
            | Record::Credit { .. }
            | Record::Connected { .. }
            | Record::Failed { .. }
            | Record::Resolved { .. } => weight.relief.add(1, 0),
            _ => return Err(Refused::Forbidden { group }),
        }
    }
    Ok(weight)
}
