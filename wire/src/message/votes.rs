//! Votes and lists from an engine's node to a proxy's, and what the proxy says back.
//!
//! A channel stands for one holder of one seat, so that a vote is short. The engine binds it before it uses it; the
//! proxy answers how far that group is released already, and what is up to there need not be sent. A channel may be
//! bound again; what was under way on it is over then.

use bytes::{BufMut, Bytes};

use super::list::{ListPart, put_head, read_part};
use super::{FIRST_BACK, FIRST_THERE, Message, fields, seat, small, unknown};
use crate::stream::FrameQueue;
use crate::vote::KIND_VOTE;
use crate::{DecodeError, GroupId, Incarnation, Position, Seat, Vote};

const BIND: u8 = FIRST_THERE;
const LIST: u8 = FIRST_THERE + 1;
const FORGOT: u8 = FIRST_THERE + 2;
const BOUND: u8 = FIRST_BACK;
const ASK: u8 = FIRST_BACK + 1;
const RELEASED: u8 = FIRST_BACK + 2;
const SPEAK: u8 = FIRST_BACK + 3;

/// From the engine's node to the proxy's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToProxy {
    /// Says what a channel stands for from now on.
    Bind {
        /// The channel.
        channel: u16,
        /// The group.
        group: GroupId,
        /// The seat.
        seat: Seat,
        /// Its holder.
        incarnation: Incarnation,
    },
    /// A vote.
    Vote(Vote),
    /// A part of a list. Parts of one list come in order; [`super::list::ListAssembler`] joins them.
    List(ListPart),
    /// Turns up to here are not kept any more: that the seat does not vote on them says nothing, and it has no lists
    /// of them.
    Forgot {
        /// The channel.
        channel: u16,
        /// The highest such position.
        position: Position,
    },
}

impl Message for ToProxy {
    fn encode(&self, out: &mut FrameQueue) {
        match self {
            Self::Bind { channel, group, seat, incarnation } => small(out, BIND, |out| {
                out.put_u16_le(*channel);
                out.put_u32_le(group.0);
                out.put_u8(seat.0);
                out.put_u32_le(incarnation.0);
            }),
            Self::Vote(vote) => out.vote(vote),
            Self::List(part) => {
                let payloads = part.turn.effects.iter().map(|effect| &effect.payload);
                out.frame_with(LIST, |out| put_head(out, part), payloads);
            }
            Self::Forgot { channel, position } => small(out, FORGOT, |out| {
                out.put_u16_le(*channel);
                out.put_u64_le(position.0);
            }),
        }
    }

    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        if kind == KIND_VOTE {
            return Vote::decode(payload).map(Self::Vote);
        }
        fields(payload, "votes message", |reader| {
            Ok(match kind {
                BIND => Self::Bind {
                    channel: reader.u16("channel")?,
                    group: GroupId(reader.u32("group")?),
                    seat: seat(reader)?,
                    incarnation: Incarnation(reader.u32("incarnation")?),
                },
                LIST => Self::List(read_part(reader)?),
                FORGOT => Self::Forgot {
                    channel: reader.u16("channel")?,
                    position: Position(reader.u64("channel position")?),
                },
                _ => return unknown("votes kind", kind),
            })
        })
    }
}

/// From the proxy's node to the engine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToEngine {
    /// The channel is bound.
    Bound {
        /// The channel.
        channel: u16,
        /// What is released already: votes up to here are of no use.
        released: Position,
    },
    /// The list of a turn is wanted.
    Ask {
        /// The channel.
        channel: u16,
        /// The turn.
        position: Position,
    },
    /// Everything up to here is released: its lists need not be kept for this proxy.
    Released {
        /// The channel.
        channel: u16,
        /// The highest such position.
        position: Position,
    },
    /// Whether lists are to come with the votes, as the rule of speakers says. A proxy beside a replica of the group
    /// has them from there; whatever it said, it may ask for one.
    Speak {
        /// The channel.
        channel: u16,
        /// Whether they are.
        wanted: bool,
    },
}

impl Message for ToEngine {
    fn encode(&self, out: &mut FrameQueue) {
        let mut positioned = |kind, channel: u16, position: Position| {
            small(out, kind, |out| {
                out.put_u16_le(channel);
                out.put_u64_le(position.0);
            });
        };
        match *self {
            Self::Bound { channel, released } => positioned(BOUND, channel, released),
            Self::Ask { channel, position } => positioned(ASK, channel, position),
            Self::Released { channel, position } => positioned(RELEASED, channel, position),
            Self::Speak { channel, wanted } => small(out, SPEAK, |out| {
                out.put_u16_le(channel);
                out.put_u8(u8::from(wanted));
            }),
        }
    }

    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        fields(payload, "votes answer", |reader| {
            let channel = reader.u16("channel")?;
            if kind == SPEAK {
                return Ok(Self::Speak { channel, wanted: reader.flag("speak flag")? });
            }
            let position = Position(reader.u64("channel position")?);
            Ok(match kind {
                BOUND => Self::Bound { channel, released: position },
                ASK => Self::Ask { channel, position },
                RELEASED => Self::Released { channel, position },
                _ => return unknown("votes answer kind", kind),
            })
        })
    }
}
