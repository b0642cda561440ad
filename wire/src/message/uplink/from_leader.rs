//! What the leader's node says back; or one whose member does not lead.

use bytes::{BufMut, Bytes};

use super::Preparation;
use crate::limits::MAX_TEXT_BYTES;
use crate::message::{FIRST_BACK, Message, fields, small, unknown};
use crate::reader::{Reader, put_text};
use crate::stream::FrameQueue;
use crate::{DecodeError, Epoch, GroupId, NodeId, Position, SubmissionId};

const LEADS: u8 = FIRST_BACK;
const NOT_LEADER: u8 = FIRST_BACK + 1;
const REFUSED: u8 = FIRST_BACK + 2;
const FAILED: u8 = FIRST_BACK + 3;
const RENEWED: u8 = FIRST_BACK + 4;
const ANSWER: u8 = FIRST_BACK + 5;
const PREPARE: u8 = FIRST_BACK + 6;
const HOLD: u8 = FIRST_BACK + 7;
const RELEASE: u8 = FIRST_BACK + 8;
const CUT: u8 = FIRST_BACK + 9;
const PREPARING: u8 = FIRST_BACK + 10;

/// Why a submission was refused, as far as the proxy acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// The group has too much that was not executed yet: again later, or without its open and data records.
    Busy = 1,
    /// The number is not the next one.
    OutOfOrder = 2,
    /// The epoch is not open: the proxy needs another.
    UnknownEpoch = 3,
    /// There is no such group.
    UnknownGroup = 4,
    /// It breaks a rule, and would again.
    Invalid = 5,
    /// This member does not lead.
    NotLeader = 6,
    /// The log takes nothing more.
    Stopped = 7,
    /// The log did not take it this time, or nobody knows whether it did: offered again it counts once.
    Again = 8,
}

impl Why {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value = reader.u8("refusal")?;
        [
            Self::Busy,
            Self::OutOfOrder,
            Self::UnknownEpoch,
            Self::UnknownGroup,
            Self::Invalid,
            Self::NotLeader,
            Self::Stopped,
            Self::Again,
        ]
        .into_iter()
        .find(|why| *why as u8 == value)
        .ok_or(DecodeError::Unknown { what: "refusal", value: u64::from(value) })
    }
}

/// From the leader's node. What is above 512 bytes of a text is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromLeader {
    /// The member of this node leads.
    Leads {
        /// Its term.
        term: u64,
        /// How long the epoch of a proxy lives without a submission or renewal, in milliseconds.
        lease_millis: u32,
    },
    /// The member of this node does not lead, or no longer.
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
    /// A submission was not ordered, and will not be but for one reason ([`Why::Again`]); its number may be offered
    /// again.
    Refused {
        /// The submission.
        id: SubmissionId,
        /// The group concerned; the shard's own when it is none in particular.
        group: GroupId,
        /// Why.
        why: Why,
        /// The number that would be taken next, where the number was wrong; else 0.
        expected: u64,
        /// Why, in words.
        text: String,
    },
    /// Submissions of an epoch were not ordered: the next one is that after `last`.
    Failed {
        /// The epoch.
        epoch: Epoch,
        /// The last submission that was ordered.
        last: u64,
        /// Whether that is because the log is full.
        full: bool,
        /// Why, in words.
        text: String,
    },
    /// A lease was renewed.
    Renewed {
        /// That of the renewal.
        beat: u64,
    },
    /// A control was ordered at a position, or was not: a code and why, in words.
    Answer {
        /// That of the control.
        request: u64,
        /// What came of it.
        result: Result<Position, (u8, String)>,
    },
    /// The engine is to fetch and compile a bundle, and to say when it is ready.
    Prepare {
        /// The group that is to run it.
        group: GroupId,
        /// The bundle's digest.
        bundle: [u8; 32],
    },
    /// How far an engine is with the bundle that a group is to run.
    Preparing {
        /// The group.
        group: GroupId,
        /// The bundle's digest.
        bundle: [u8; 32],
        /// The engine's node.
        node: NodeId,
        /// How far.
        preparation: Preparation,
    },
    /// Proxies are to send no open and data records of this group.
    Hold {
        /// The group.
        group: GroupId,
    },
    /// They may again.
    Release {
        /// The group.
        group: GroupId,
    },
    /// Nobody needs entries up to here any more: members may give them up.
    Cut {
        /// The last such position.
        position: Position,
    },
}

impl Message for FromLeader {
    fn encode(&self, out: &mut FrameQueue) {
        match self {
            Self::Leads { term, lease_millis } => small(out, LEADS, |out| {
                out.put_u64_le(*term);
                out.put_u32_le(*lease_millis);
            }),
            Self::NotLeader { leader } => small(out, NOT_LEADER, |out| {
                out.put_u8(u8::from(leader.is_some()));
                if let Some(leader) = leader {
                    out.put_u64_le(leader.0);
                }
            }),
            Self::Refused { id, group, why, expected, text } => small(out, REFUSED, |out| {
                out.put_u32_le(id.epoch.0);
                out.put_u64_le(id.number);
                out.put_u32_le(group.0);
                out.put_u8(*why as u8);
                out.put_u64_le(*expected);
                put_text(out, text, MAX_TEXT_BYTES);
            }),
            Self::Failed { epoch, last, full, text } => small(out, FAILED, |out| {
                out.put_u32_le(epoch.0);
                out.put_u64_le(*last);
                out.put_u8(u8::from(*full));
                put_text(out, text, MAX_TEXT_BYTES);
            }),
            Self::Renewed { beat } => small(out, RENEWED, |out| out.put_u64_le(*beat)),
            Self::Answer { request, result } => small(out, ANSWER, |out| {
                out.put_u64_le(*request);
                put_result(out, result);
            }),
            Self::Prepare { group, bundle } => small(out, PREPARE, |out| {
                out.put_u32_le(group.0);
                out.put_slice(bundle);
            }),
            Self::Preparing { group, bundle, node, preparation } => small(out, PREPARING, |out| {
                out.put_u32_le(group.0);
                out.put_slice(bundle);
                out.put_u64_le(node.0);
                preparation.put(out);
            }),
            Self::Hold { group } => small(out, HOLD, |out| out.put_u32_le(group.0)),
            Self::Release { group } => small(out, RELEASE, |out| out.put_u32_le(group.0)),
            Self::Cut { position } => small(out, CUT, |out| out.put_u64_le(position.0)),
        }
    }

    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        fields(payload, "leader's message", |reader| {
            Ok(match kind {
                LEADS => Self::Leads { term: reader.u64("term")?, lease_millis: reader.u32("lease")? },
                NOT_LEADER => Self::NotLeader {
                    leader: match reader.flag("leader flag")? {
                        true => Some(NodeId(reader.u64("leader")?)),
                        false => None,
                    },
                },
                REFUSED => Self::Refused {
                    id: SubmissionId {
                        epoch: Epoch(reader.u32("refused epoch")?),
                        number: reader.u64("refused number")?,
                    },
                    group: GroupId(reader.u32("refused group")?),
                    why: Why::read(reader)?,
                    expected: reader.u64("expected number")?,
                    text: reader.text("refusal text", MAX_TEXT_BYTES)?,
                },
                FAILED => Self::Failed {
                    epoch: Epoch(reader.u32("failed epoch")?),
                    last: reader.u64("last ordered number")?,
                    full: reader.flag("full flag")?,
                    text: reader.text("failure text", MAX_TEXT_BYTES)?,
                },
                RENEWED => Self::Renewed { beat: reader.u64("renewal beat")? },
                ANSWER => Self::Answer { request: reader.u64("answered request")?, result: read_result(reader)? },
                PREPARE => Self::Prepare {
                    group: GroupId(reader.u32("prepared group")?),
                    bundle: reader.array("prepared bundle")?,
                },
                PREPARING => Self::Preparing {
                    group: GroupId(reader.u32("prepared group")?),
                    bundle: reader.array("prepared bundle")?,
                    node: NodeId(reader.u64("preparing node")?),
                    preparation: Preparation::read(reader)?,
                },
                HOLD => Self::Hold { group: GroupId(reader.u32("held group")?) },
                RELEASE => Self::Release { group: GroupId(reader.u32("released group")?) },
                CUT => Self::Cut { position: Position(reader.u64("cut position")?) },
                _ => return unknown("leader's kind", kind),
            })
        })
    }
}

fn put_result(out: &mut Vec<u8>, result: &Result<Position, (u8, String)>) {
    match result {
        Ok(position) => {
            out.put_u8(1);
            out.put_u64_le(position.0);
        }
        Err((code, text)) => {
            out.put_u8(0);
            out.put_u8(*code);
            put_text(out, text, MAX_TEXT_BYTES);
        }
    }
}

fn read_result(reader: &mut Reader<'_>) -> Result<Result<Position, (u8, String)>, DecodeError> {
    Ok(match reader.flag("answer flag")? {
        true => Ok(Position(reader.u64("answer position")?)),
        false => Err((reader.u8("answer code")?, reader.text("answer text", MAX_TEXT_BYTES)?)),
    })
}
