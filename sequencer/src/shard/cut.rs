//! Cutting records out of a batch.
//!
//! A batch is the leader's own records, then, behind an origin mark each, those of submissions.

use bytes::Bytes;
use refrain_wire::record::{RECORD_HEADER_BYTES, records};
use refrain_wire::{Control, DecodeError, Epoch, Record};

/// The bytes of the record that `rest` begins with, which has a header.
fn record_bytes(rest: &[u8]) -> usize {
    RECORD_HEADER_BYTES + u32::from_le_bytes([rest[1], rest[2], rest[3], 0]) as usize
}

/// Splits off the first record's bytes; what cannot be a record ends the walk.
fn split_record(rest: &mut Bytes) -> Option<Bytes> {
    let end = (rest.len() >= RECORD_HEADER_BYTES).then(|| record_bytes(rest))?;
    (end <= rest.len()).then(|| rest.split_to(end))
}

fn decode(record: &Bytes) -> Option<Record> {
    records(record).next()?.ok()
}

/// The leader's own records of a batch, as far as the shard's state follows from them.
pub(super) struct Leading {
    /// The controls, each with its place among the records.
    pub(super) controls: Vec<(usize, Control)>,
    /// Where the first mark stands.
    pub(super) first_origin: usize,
}

/// What the leader says in a batch.
///
/// # Errors
/// When one of its records is not understood: a newer version wrote it. What others follow and this node skips would
/// give it another state than theirs.
pub(super) fn leading(batch: &Bytes) -> Result<Leading, DecodeError> {
    let mut controls = Vec::new();
    let mut first_origin = 0;
    for (nth, record) in records(batch).enumerate() {
        match record? {
            Record::Origin(_) => break,
            Record::Control(control) => controls.push((nth, control)),
            _ => {}
        }
        first_origin += record_bytes(&batch[first_origin..]);
    }
    Ok(Leading { controls, first_origin })
}

/// The leader's records without those in `ignored`, and the records behind the marks of epochs that `keep` wants.
pub(super) fn cut(batch: &Bytes, first_origin: usize, ignored: &[usize], keep: impl Fn(Epoch) -> bool) -> Bytes {
    let mut out = Vec::with_capacity(batch.len());
    let mut leader = batch.slice(..first_origin);
    for nth in 0.. {
        let Some(record) = split_record(&mut leader) else { break };
        if !ignored.contains(&nth) {
            out.extend_from_slice(&record);
        }
    }
    let mut rest = batch.slice(first_origin..);
    let mut kept = false;
    while let Some(record) = split_record(&mut rest) {
        // Only a record without payload can be a mark.
        if record.len() == RECORD_HEADER_BYTES
            && let Some(Record::Origin(epoch)) = decode(&record)
        {
            kept = keep(epoch);
        }
        if kept {
            out.extend_from_slice(&record);
        }
    }
    Bytes::from(out)
}
