//! What nodes tell each other that is not in the log, by the role of the stream.
//!
//! Each direction of a role is one enum and a [`Message`]. Kinds of whoever opened the stream begin at 2, those of
//! the other end at 65, so a message that went the wrong way is an unknown kind.
//!
//! Guarantees: decoding is total, every count and length is checked against `limits` before anything is allocated for
//! it, an error names the field, and bulk bytes are slices of the frame that was read. What is accepted has one form:
//! encoded again it gives the same bytes. Encoding checks counts in debug builds only; long texts are cut.
//!
//! Leaves to others: whether what is said makes sense. Records in a submission, payloads in a list, entries, pieces
//! and chunks are bytes that nobody has checked yet; whoever takes them says how.

pub mod feed;
pub mod fetch;
pub mod list;
pub mod pieces;
pub mod uplink;
pub mod votes;

use bytes::Bytes;

use crate::limits::MAX_SEATS;
use crate::reader::{Reader, bounded};
use crate::stream::FrameQueue;
use crate::{DecodeError, Seat};

/// One direction of a role.
pub trait Message: Sized {
    /// Adds the message to the queue, as one frame.
    fn encode(&self, out: &mut FrameQueue);

    /// The message in a frame of this kind.
    ///
    /// # Errors
    /// When it is none, or breaks a limit.
    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError>;
}

/// The first kind of whoever opened the stream; 1 is a vote.
const FIRST_THERE: u8 = 2;
/// The first kind of the other end.
const FIRST_BACK: u8 = 65;

/// Adds a message that has no bulk.
fn small(out: &mut FrameQueue, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.frame_with(kind, fill, std::iter::empty());
}

/// Adds a message that ends with bulk.
fn bulky(out: &mut FrameQueue, kind: u8, bulk: &Bytes, fill: impl FnOnce(&mut Vec<u8>)) {
    out.frame_with(kind, fill, std::iter::once(bulk));
}

fn unknown<T>(what: &'static str, value: impl Into<u64>) -> Result<T, DecodeError> {
    Err(DecodeError::Unknown { what, value: value.into() })
}

/// A count of items that need at least `least` bytes each, of which the payload has enough.
fn count(reader: &mut Reader<'_>, what: &'static str, limit: usize, least: usize) -> Result<usize, DecodeError> {
    let count = reader.u32(what)? as usize;
    bounded(what, count, limit)?;
    let (needed, left) = (count * least, reader.left());
    if needed > left {
        return Err(DecodeError::Short { what, needed, left });
    }
    Ok(count)
}

fn seat(reader: &mut Reader<'_>) -> Result<Seat, DecodeError> {
    let seat = reader.u8("seat")?;
    bounded("seat", usize::from(seat), usize::from(MAX_SEATS) - 1)?;
    Ok(Seat(seat))
}

/// The rest of the payload, at most `limit` bytes.
fn bulk(reader: &mut Reader<'_>, what: &'static str, limit: usize) -> Result<Bytes, DecodeError> {
    bounded(what, reader.left(), limit)?;
    Ok(reader.rest())
}

/// Decodes the fields of a message, all of its payload.
fn fields<T>(
    payload: &Bytes,
    what: &'static str,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut reader = Reader::new(payload);
    let value = read(&mut reader)?;
    reader.end(what)?;
    Ok(value)
}
