//! A vote: a seat's digest of the effects of one turn for one proxy. 27 bytes, of which 16 are the digest.
//!
//! `kind u8 | channel u16 | position (low 32 bits) u32 | digest 16 bytes | crc32c u32`.

use bytes::Bytes;

use crate::reader::{DecodeError, Reader};
use crate::{Digest, Position};

/// Bytes of an encoded vote.
pub const VOTE_BYTES: usize = 27;
/// The kind that no other frame of a stream has.
pub const KIND_VOTE: u8 = 1;

/// A vote as it travels: the channel stands for group and seat, bound when the stream opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The stream's number for (group, seat).
    pub channel: u16,
    /// The low 32 bits of the position voted on.
    pub position_low: u32,
    /// The digest of the turn's effects for the proxy at the other end.
    pub digest: Digest,
}

impl Vote {
    /// The vote's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; VOTE_BYTES] {
        let mut out = [0; VOTE_BYTES];
        out[0] = KIND_VOTE;
        out[1..3].copy_from_slice(&self.channel.to_le_bytes());
        out[3..7].copy_from_slice(&self.position_low.to_le_bytes());
        out[7..23].copy_from_slice(&self.digest.0);
        let crc = crc32c::crc32c(&out[..23]);
        out[23..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes exactly one vote.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8("vote kind")?;
        if kind != KIND_VOTE {
            return Err(DecodeError::Unknown { what: "vote kind", value: u64::from(kind) });
        }
        let vote = Self {
            channel: reader.u16("vote channel")?,
            position_low: reader.u32("vote position")?,
            digest: Digest(reader.array("vote digest")?),
        };
        let found = reader.u32("vote checksum")?;
        reader.end("vote")?;
        let computed = crc32c::crc32c(&bytes[..VOTE_BYTES - 4]);
        if computed != found {
            return Err(DecodeError::Checksum { what: "vote", found, computed });
        }
        Ok(vote)
    }

    /// The full position, given one that is at most 2^31 away from it; 0 for one that would be before the first.
    #[must_use]
    pub fn position(&self, near: Position) -> Position {
        let ahead = self.position_low.wrapping_sub(near.0 as u32) as i32;
        Position(near.0.saturating_add_signed(i64::from(ahead)))
    }
}
