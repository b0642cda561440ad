//! Cutting records out of a batch.
//!
//! A batch is the leader's own records, then, behind an origin mark each, those of submissions.

use bytes::Bytes;
use refrain_wire::record::{RECORD_HEADER_BYTES, records};
use refrain_wire::{Control, Epoch, Record};

/// Splits off the first record's bytes; what cannot be a record ends the walk.
fn split_record(rest: &mut Bytes) -> Option<Bytes> {
    let header = rest.get(..RECORD_HEADER_BYTES)?;
    let len = u32::from_le_bytes([header[1], header[2], header[3], 0]) as usize;
    let end = RECORD_HEADER_BYTES + len;
    (end <= rest.len()).then(|| rest.split_to(end))
}

fn decode(record: &Bytes) -> Option<Record> {
    records(record).next()?.ok()
}

/// The controls among the leader's records, each with its place among them, and where the first mark stands.
pub(super) fn leader_controls(batch: &Bytes) -> (Vec<(usize, Control)>, usize) {
    let mut rest = batch.clone();
    let mut controls = Vec::new();
    for nth in 0.. {
        let at = batch.len() - rest.len();
        match split_record(&mut rest).as_ref().and_then(decode) {
            Some(Record::Control(control)) => controls.push((nth, control)),
            Some(Record::Origin(_)) | None => return (controls, at),
            Some(_) => {}
        }
    }
    unreachable!("a batch ends")
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
