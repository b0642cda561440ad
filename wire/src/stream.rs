//! Streams between nodes: a greeting each way ([`hello`]), then frames.
//!
//! `kind u8 | len u32 | crc32c u32 | payload (len bytes)`; the checksum covers kind, length and payload. Kind 1 is
//! a vote on every stream: its own 27 bytes and nothing else. What the other kinds mean, the role of the stream
//! says; `crate::message` has them.
//!
//! Guarantees: a length is checked before anything is reserved for it, a payload is a slice of the buffer that was
//! read, and a damaged frame is an error. After an error the place of the next frame is unknown: the stream is to be
//! closed. A payload keeps the whole buffer that it was read into alive; who keeps a few bytes for long copies them.
//!
//! Leaves to others: sockets, time limits, and who may open which stream.

pub mod hello;
mod queue;

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::{
    MAX_FEED_FRAME_BYTES, MAX_FETCH_FRAME_BYTES, MAX_RAFT_FRAME_BYTES, MAX_UPLINK_FRAME_BYTES, MAX_VOTES_FRAME_BYTES,
};
use crate::reader::{DecodeError, bounded};
use crate::vote::{KIND_VOTE, VOTE_BYTES};

pub use hello::{Hello, HelloAnswer, RefusalCode};
pub use queue::FrameQueue;

/// Bytes before the payload of a frame.
pub const FRAME_HEADER_BYTES: usize = 9;

/// The kind of a frame that says nothing but that its sender lives. It has no payload, and may come on every stream of
/// nodes but those between members of the log, which have their own way.
pub const KIND_ALIVE: u8 = 255;

/// What a stream is for; the node that opened it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// From member to member: what Raft says.
    Raft = 1,
    /// From a node to that of the leader: [`crate::message::uplink`].
    Uplink = 2,
    /// From a node without a member to any member: [`crate::message::feed`].
    Feed = 3,
    /// From an engine to a proxy: [`crate::message::votes`].
    Votes = 4,
    /// From any node to any other: [`crate::message::fetch`].
    Fetch = 5,
    /// From the HTTP front end of a node to that of another. What follows the greeting is HTTP/2, and no frames of ours.
    Http = 6,
}

impl Role {
    /// Every role, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Raft, Self::Uplink, Self::Feed, Self::Votes, Self::Fetch, Self::Http];

    fn from_u8(value: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|role| *role as u8 == value)
            .ok_or(DecodeError::Unknown { what: "stream role", value: u64::from(value) })
    }

    /// The most payload bytes in one frame of such a stream, either way.
    #[must_use]
    pub fn max_frame_bytes(self) -> usize {
        match self {
            Self::Raft => MAX_RAFT_FRAME_BYTES,
            Self::Uplink => MAX_UPLINK_FRAME_BYTES,
            Self::Feed => MAX_FEED_FRAME_BYTES,
            Self::Votes => MAX_VOTES_FRAME_BYTES,
            Self::Fetch => MAX_FETCH_FRAME_BYTES,
            Self::Http => 0,
        }
    }
}

/// A frame as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is; 1 is a vote.
    pub kind: u8,
    /// Its payload, checked against the checksum. That of a vote is all 27 bytes, and `Vote::decode` checks them.
    pub payload: Bytes,
}

/// The header of a frame whose payload is `pieces`, one after another: for who writes them without copying.
#[must_use]
pub fn frame_header<'a>(kind: u8, pieces: impl Iterator<Item = &'a [u8]> + Clone) -> [u8; FRAME_HEADER_BYTES] {
    debug_assert!(kind > KIND_VOTE, "a vote has no header, and 0 is no kind");
    let len: usize = pieces.clone().map(<[u8]>::len).sum();
    let len = u32::try_from(len).expect("every role's limit is far below 4 GiB");
    let mut header = [0; FRAME_HEADER_BYTES];
    header[0] = kind;
    header[1..5].copy_from_slice(&len.to_le_bytes());
    let crc = pieces.fold(crc32c::crc32c(&header[..5]), crc32c::crc32c_append);
    header[5..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Whether the frame only says that its sender lives.
///
/// # Errors
/// When it should, and says more.
pub fn is_alive(frame: &Frame) -> Result<bool, DecodeError> {
    if frame.kind != KIND_ALIVE {
        return Ok(false);
    }
    bounded("bytes of a sign of life", frame.payload.len(), 0)?;
    Ok(true)
}

/// Appends one frame.
pub fn put_frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.extend_from_slice(&frame_header(kind, std::iter::once(payload)));
    out.extend_from_slice(payload);
}

/// Cuts what was read from a stream into frames.
#[derive(Debug, Clone, Copy)]
pub struct FrameDecoder {
    /// The most payload bytes in a frame.
    pub max_bytes: usize,
}

impl FrameDecoder {
    /// For streams of that role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self { max_bytes: role.max_frame_bytes() }
    }

    /// Takes the next frame out of `buffer`; `None` when it is not there whole, then room for it is reserved.
    ///
    /// # Errors
    /// When what stands there is no frame, or a longer one than allowed. The stream is of no use afterwards.
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let Some(&kind) = buffer.first() else { return Ok(None) };
        match kind {
            0 => Err(DecodeError::Unknown { what: "frame kind", value: 0 }),
            KIND_VOTE => Ok(whole(buffer, VOTE_BYTES).then(|| take(buffer, kind, VOTE_BYTES))),
            _ => self.decode_framed(buffer, kind),
        }
    }

    fn decode_framed(&self, buffer: &mut BytesMut, kind: u8) -> Result<Option<Frame>, DecodeError> {
        if !whole(buffer, FRAME_HEADER_BYTES) {
            return Ok(None);
        }
        let len = word(&buffer[1..5]) as usize;
        bounded("frame length", len, self.max_bytes)?;
        if !whole(buffer, FRAME_HEADER_BYTES + len) {
            return Ok(None);
        }
        let found = word(&buffer[5..9]);
        let payload = &buffer[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + len];
        let computed = crc32c::crc32c_append(crc32c::crc32c(&buffer[..5]), payload);
        if computed != found {
            return Err(DecodeError::Checksum { what: "frame", found, computed });
        }
        buffer.advance(FRAME_HEADER_BYTES);
        Ok(Some(take(buffer, kind, len)))
    }
}

/// Whether `needed` bytes are there; else reserves room for them.
fn whole(buffer: &mut BytesMut, needed: usize) -> bool {
    let missing = needed.saturating_sub(buffer.len());
    if missing > 0 {
        buffer.reserve(missing);
    }
    missing == 0
}

fn take(buffer: &mut BytesMut, kind: u8, len: usize) -> Frame {
    Frame { kind, payload: buffer.split_to(len).freeze() }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes are asked for"))
}
