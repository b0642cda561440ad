//! A batch: what one group is given at one position. 27 bytes of framing before its records.
//!
//! `len u32 | crc32c u32 | group u32 | position u64 | time 7 bytes | records (len bytes)`.
//! The checksum covers everything after itself.

use bytes::Bytes;

use crate::limits::MAX_BATCH_BYTES;
use crate::reader::{DecodeError, Reader, bounded};
use crate::{GroupId, Position, Time};

/// Bytes of framing before the records of a batch.
pub const BATCH_FRAME_BYTES: usize = 27;

/// What one group is given at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Whom it is for.
    pub group: GroupId,
    /// The entry that carries it.
    pub position: Position,
    /// Log time of the turn.
    pub time: Time,
    /// Encoded records; [`crate::record::records`] reads them.
    pub records: Bytes,
}

/// Appends the frame and the records of a batch.
pub fn put_batch(out: &mut Vec<u8>, group: GroupId, position: Position, time: Time, records: &[u8]) {
    debug_assert!(records.len() <= MAX_BATCH_BYTES, "a batch is cut before it is framed");
    let start = out.len();
    out.extend_from_slice(&(records.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&group.0.to_le_bytes());
    out.extend_from_slice(&position.0.to_le_bytes());
    time.put(out);
    out.extend_from_slice(records);
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Reads one batch and checks its checksum.
pub(crate) fn read_batch(reader: &mut Reader<'_>) -> Result<Batch, DecodeError> {
    let len = reader.u32("batch length")? as usize;
    bounded("batch length", len, MAX_BATCH_BYTES)?;
    let found = reader.u32("batch checksum")?;
    let body = reader.take("batch", BATCH_FRAME_BYTES - 8 + len)?;
    let computed = crc32c::crc32c(&body);
    if computed != found {
        return Err(DecodeError::Checksum { what: "batch", found, computed });
    }
    let mut body = Reader::new(&body);
    Ok(Batch {
        group: GroupId(body.u32("batch group")?),
        position: Position(body.u64("batch position")?),
        time: Time::from_micros(body.u56("batch time")?),
        records: body.rest(),
    })
}

/// Decodes exactly one batch.
pub fn decode_batch(bytes: &Bytes) -> Result<Batch, DecodeError> {
    let mut reader = Reader::new(bytes);
    let batch = read_batch(&mut reader)?;
    reader.end("batch")?;
    Ok(batch)
}
