//! A feed: committed entries, from a member to a node that has none.
//!
//! The node asks to follow; the member sends entries in order, from the one after that position on. If it no longer
//! has them all, it sends the state of the shard first, in pieces, and goes on after the position of that state.

use bytes::{BufMut, Bytes};

use super::pieces::{Piece, put_piece, read_piece};
use super::{FIRST_BACK, FIRST_THERE, Message, bulk, bulky, fields, small, unknown};
use crate::limits::{MAX_ENTRY_BYTES, MAX_STATE_BYTES};
use crate::stream::FrameQueue;
use crate::{DecodeError, Position};

const FOLLOW: u8 = FIRST_THERE;
const STATE: u8 = FIRST_BACK;
const ENTRY: u8 = FIRST_BACK + 1;
const COMMITTED: u8 = FIRST_BACK + 2;

/// From the node to the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToMember {
    /// Wants the entries after this position; 0 for all. Said once, first.
    Follow {
        /// The last position that the node has.
        after: Position,
    },
}

impl Message for ToMember {
    fn encode(&self, out: &mut FrameQueue) {
        let Self::Follow { after } = self;
        small(out, FOLLOW, |out| out.put_u64_le(after.0));
    }

    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        match kind {
            FOLLOW => {
                fields(payload, "follow", |reader| Ok(Self::Follow { after: Position(reader.u64("follow after")?) }))
            }
            _ => unknown("feed request kind", kind),
        }
    }
}

/// From the member to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromMember {
    /// A piece of the shard's state after the entry at `position`. The pieces of one state come in order and without
    /// entries in between; [`super::pieces::Assembly`] joins them.
    State {
        /// The position.
        position: Position,
        /// The piece; the whole has at most 64 MiB.
        piece: Piece,
    },
    /// A committed entry. Positions rise; they have gaps where the log keeps entries of its own.
    Entry {
        /// Where it stands.
        position: Position,
        /// Its bytes, as `Entry::decode` takes them.
        bytes: Bytes,
    },
    /// Everything up to here is committed and was sent.
    Committed {
        /// The highest such position.
        position: Position,
    },
}

impl Message for FromMember {
    fn encode(&self, out: &mut FrameQueue) {
        match self {
            Self::State { position, piece } => bulky(out, STATE, &piece.bytes, |out| {
                out.put_u64_le(position.0);
                put_piece(out, piece);
            }),
            Self::Entry { position, bytes } => bulky(out, ENTRY, bytes, |out| out.put_u64_le(position.0)),
            Self::Committed { position } => small(out, COMMITTED, |out| out.put_u64_le(position.0)),
        }
    }

    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        fields(payload, "feed message", |reader| {
            Ok(match kind {
                STATE => Self::State {
                    position: Position(reader.u64("state position")?),
                    piece: read_piece(reader, MAX_STATE_BYTES as u64)?,
                },
                ENTRY => Self::Entry {
                    position: Position(reader.u64("entry position")?),
                    bytes: bulk(reader, "entry length", MAX_ENTRY_BYTES)?,
                },
                COMMITTED => Self::Committed { position: Position(reader.u64("committed position")?) },
                _ => return unknown("feed kind", kind),
            })
        })
    }
}
