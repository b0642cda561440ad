//! What nodes tell the leader.

use bytes::{BufMut, Bytes};

use super::Preparation;
use crate::entry::GroupRecords;
use crate::limits::{
    MAX_ADDRESS_BYTES, MAX_PROGRESS, MAX_RENEW_GROUPS, MAX_SUBMISSION_BATCH_BYTES, MAX_SUBMISSION_BYTES,
    MAX_SUBMISSION_GROUPS, MAX_TEXT_BYTES,
};
use crate::message::{FIRST_THERE, Message, count, fields, seat, small, unknown};
use crate::reader::{Reader, bounded, put_text};
use crate::stream::FrameQueue;
use crate::{
    Control, DecodeError, Digest, Epoch, GroupId, Incarnation, NodeId, Position, ProxyId, Seat, SubmissionId, Time,
};

const ENGINE: u8 = FIRST_THERE;
const SUBMIT: u8 = FIRST_THERE + 1;
const OPEN_EPOCH: u8 = FIRST_THERE + 2;
const RENEW: u8 = FIRST_THERE + 3;
const CONTROL: u8 = FIRST_THERE + 4;
const PROGRESS: u8 = FIRST_THERE + 5;
const PREPARING: u8 = FIRST_THERE + 6;
const LOST: u8 = FIRST_THERE + 7;
const MEMBERS: u8 = FIRST_THERE + 8;
const ROLLED_BACK: u8 = FIRST_THERE + 9;

const ADD: u8 = 1;
const REMOVE: u8 = 2;
const TRANSFER: u8 = 3;

const WANTS: u8 = 1;
const ROOT: u8 = 2;

/// From a node to the leader's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToLeader {
    /// The node runs replicas.
    Engine {
        /// A number that it drew when it started: with another one, all that it held is gone.
        session: u64,
        /// Its compatibility key.
        key: Digest,
    },
    /// Records to be ordered. Nobody has looked at them yet: the leader checks each group's with
    /// `record::check_records`, and which groups and kinds may stand there.
    Submit {
        /// The epoch, and the number after that of the last submission.
        id: SubmissionId,
        /// Records of at most 128 groups.
        batches: Vec<GroupRecords>,
    },
    /// A proxy wants an epoch. It gets one by record and knows it by the nonce.
    OpenEpoch {
        /// The proxy.
        proxy: ProxyId,
        /// Random; the same when it is said again.
        nonce: u64,
        /// Whether guests' outward calls may be given to it.
        outward: bool,
    },
    /// A proxy lives: its lease begins anew.
    Renew {
        /// The epoch.
        epoch: Epoch,
        /// Comes back in the answer.
        beat: u64,
        /// How far each group is released there, for groups of which that changed.
        released: Vec<(GroupId, Position)>,
    },
    /// An operator's or a node's wish for a control.
    Control {
        /// Comes back in the answer.
        request: u64,
        /// The group; the shard's own for its controls.
        group: GroupId,
        /// The control.
        control: Control,
    },
    /// How far replicas of the node are, for those of which something changed. What has no room in one message goes on
    /// in the next: one with `MAX_PROGRESS` of them is not the last.
    Progress(Vec<Progress>),
    /// How far the node is with the bundle that it was to prepare.
    Preparing {
        /// The group that is to run it.
        group: GroupId,
        /// The bundle's digest.
        bundle: [u8; 32],
        /// How far.
        preparation: Preparation,
    },
    /// The node lost a replica, by a fault of its own: the seat is vacant.
    Lost {
        /// The group.
        group: GroupId,
        /// The seat.
        seat: Seat,
        /// Which holder of the seat it was.
        incarnation: Incarnation,
        /// Why, in words; what is above 512 bytes is cut.
        reason: String,
    },
    /// In a replica of the node, the upgrade that the log has at this position did not start, and what ran before goes
    /// on.
    RolledBack {
        /// The group.
        group: GroupId,
        /// The seat.
        seat: Seat,
        /// Which holder of the seat it is.
        incarnation: Incarnation,
        /// The position of the upgrade.
        position: Position,
    },
    /// An operator's wish for other members of the log, or another leader.
    Members {
        /// Comes back in the answer.
        request: u64,
        /// The wish.
        change: MemberChange,
    },
}

/// A change of the log's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// The node is to be a member: it learns the log first.
    Add {
        /// The node; a number that was never used.
        node: NodeId,
        /// Where the others reach it; at most 255 bytes.
        address: String,
    },
    /// The node is to be none any more.
    Remove(NodeId),
    /// The node is to lead.
    Transfer(NodeId),
}

/// How far one replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Its group.
    pub group: GroupId,
    /// Its seat.
    pub seat: Seat,
    /// Which holder of the seat it is.
    pub incarnation: Incarnation,
    /// Its last turn.
    pub position: Position,
    /// When it wants a turn.
    pub wants: Option<Time>,
    /// Its newest checkpoint: position and root.
    pub root: Option<(Position, [u8; 32])>,
    /// Bytes of the guest's memory.
    pub memory_bytes: u64,
    /// Bytes of it that changed since the newest checkpoint.
    pub dirty_bytes: u64,
}

/// Bytes of a [`Progress`] with neither wish nor checkpoint.
const LEAST_PROGRESS_BYTES: usize = 34;

impl Message for ToLeader {
    fn encode(&self, out: &mut FrameQueue) {
        match self {
            Self::Engine { session, key } => small(out, ENGINE, |out| {
                out.put_u64_le(*session);
                out.put_slice(&key.0);
            }),
            Self::Submit { id, batches } => {
                let bulk = batches.iter().map(|batch| &batch.records);
                out.frame_with(SUBMIT, |out| put_submission(out, *id, batches), bulk);
            }
            Self::OpenEpoch { proxy, nonce, outward } => small(out, OPEN_EPOCH, |out| {
                out.put_u16_le(proxy.0);
                out.put_u64_le(*nonce);
                out.put_u8(u8::from(*outward));
            }),
            Self::Renew { epoch, beat, released } => small(out, RENEW, |out| {
                out.put_u32_le(epoch.0);
                out.put_u64_le(*beat);
                put_released(out, released);
            }),
            Self::Control { request, group, control } => small(out, CONTROL, |out| {
                out.put_u64_le(*request);
                out.put_u32_le(group.0);
                control.encode(out);
            }),
            Self::Progress(all) => small(out, PROGRESS, |out| {
                debug_assert!(all.len() <= MAX_PROGRESS, "a report is cut before it is sent");
                out.put_u32_le(all.len() as u32);
                all.iter().for_each(|progress| progress.put(out));
            }),
            Self::Preparing { group, bundle, preparation } => small(out, PREPARING, |out| {
                out.put_u32_le(group.0);
                out.put_slice(bundle);
                preparation.put(out);
            }),
            Self::RolledBack { group, seat, incarnation, position } => small(out, ROLLED_BACK, |out| {
                out.put_u32_le(group.0);
                out.put_u8(seat.0);
                out.put_u32_le(incarnation.0);
                out.put_u64_le(position.0);
            }),
            Self::Lost { group, seat, incarnation, reason } => small(out, LOST, |out| {
                out.put_u32_le(group.0);
                out.put_u8(seat.0);
                out.put_u32_le(incarnation.0);
                put_text(out, reason, MAX_TEXT_BYTES);
            }),
            Self::Members { request, change } => small(out, MEMBERS, |out| {
                out.put_u64_le(*request);
                change.put(out);
            }),
        }
    }

    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        fields(payload, "uplink message", |reader| {
            Ok(match kind {
                ENGINE => {
                    Self::Engine { session: reader.u64("engine session")?, key: Digest(reader.array("engine key")?) }
                }
                SUBMIT => read_submission(reader)?,
                OPEN_EPOCH => Self::OpenEpoch {
                    proxy: ProxyId(reader.u16("proxy")?),
                    nonce: reader.u64("epoch nonce")?,
                    outward: reader.flag("whether the epoch is for outward calls")?,
                },
                RENEW => Self::Renew {
                    epoch: Epoch(reader.u32("renewed epoch")?),
                    beat: reader.u64("renewal beat")?,
                    released: read_released(reader)?,
                },
                CONTROL => Self::Control {
                    request: reader.u64("control request")?,
                    group: GroupId(reader.u32("control group")?),
                    control: Control::decode(reader)?,
                },
                PROGRESS => Self::Progress(read_progress(reader)?),
                PREPARING => Self::Preparing {
                    group: GroupId(reader.u32("prepared group")?),
                    bundle: reader.array("prepared bundle")?,
                    preparation: Preparation::read(reader)?,
                },
                ROLLED_BACK => Self::RolledBack {
                    group: GroupId(reader.u32("group of an upgrade")?),
                    seat: seat(reader)?,
                    incarnation: Incarnation(reader.u32("incarnation of an upgrade")?),
                    position: Position(reader.u64("position of an upgrade")?),
                },
                LOST => Self::Lost {
                    group: GroupId(reader.u32("lost group")?),
                    seat: seat(reader)?,
                    incarnation: Incarnation(reader.u32("lost incarnation")?),
                    reason: reader.text("lost reason", MAX_TEXT_BYTES)?,
                },
                MEMBERS => {
                    Self::Members { request: reader.u64("members request")?, change: MemberChange::read(reader)? }
                }
                _ => return unknown("uplink kind", kind),
            })
        })
    }
}

impl MemberChange {
    fn put(&self, out: &mut Vec<u8>) {
        let (kind, node) = match self {
            Self::Add { node, .. } => (ADD, node),
            Self::Remove(node) => (REMOVE, node),
            Self::Transfer(node) => (TRANSFER, node),
        };
        out.put_u8(kind);
        out.put_u64_le(node.0);
        if let Self::Add { address, .. } = self {
            put_text(out, address, MAX_ADDRESS_BYTES);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u8("member change")?;
        let node = NodeId(reader.u64("member")?);
        Ok(match kind {
            ADD => Self::Add { node, address: reader.text("member address", MAX_ADDRESS_BYTES)? },
            REMOVE => Self::Remove(node),
            TRANSFER => Self::Transfer(node),
            _ => return unknown("member change", kind),
        })
    }
}

fn put_submission(out: &mut Vec<u8>, id: SubmissionId, batches: &[GroupRecords]) {
    debug_assert!(batches.len() <= MAX_SUBMISSION_GROUPS, "a submission is cut before it is sent");
    out.put_u32_le(id.epoch.0);
    out.put_u64_le(id.number);
    out.put_u32_le(batches.len() as u32);
    for batch in batches {
        out.put_u32_le(batch.group.0);
        out.put_u32_le(batch.records.len() as u32);
    }
}

fn read_submission(reader: &mut Reader<'_>) -> Result<ToLeader, DecodeError> {
    let epoch = Epoch(reader.u32("submission epoch")?);
    let id = SubmissionId { epoch, number: reader.u64("submission number")? };
    let count = count(reader, "submission group count", MAX_SUBMISSION_GROUPS, 8)?;
    let mut heads = Vec::with_capacity(count);
    let mut total = 0;
    for _ in 0..count {
        let group = GroupId(reader.u32("submission group")?);
        let length = reader.u32("submission batch length")? as usize;
        bounded("submission batch length", length, MAX_SUBMISSION_BATCH_BYTES)?;
        total += length;
        heads.push((group, length));
    }
    bounded("submission length", total, MAX_SUBMISSION_BYTES)?;
    let batches = heads
        .into_iter()
        .map(|(group, length)| Ok(GroupRecords { group, records: reader.take("submission records", length)? }))
        .collect::<Result<_, DecodeError>>()?;
    Ok(ToLeader::Submit { id, batches })
}

fn put_released(out: &mut Vec<u8>, released: &[(GroupId, Position)]) {
    debug_assert!(released.len() <= MAX_RENEW_GROUPS, "there are no more groups");
    out.put_u32_le(released.len() as u32);
    for (group, position) in released {
        out.put_u32_le(group.0);
        out.put_u64_le(position.0);
    }
}

fn read_released(reader: &mut Reader<'_>) -> Result<Vec<(GroupId, Position)>, DecodeError> {
    let count = count(reader, "released group count", MAX_RENEW_GROUPS, 12)?;
    (0..count)
        .map(|_| Ok((GroupId(reader.u32("released group")?), Position(reader.u64("released position")?))))
        .collect()
}

fn read_progress(reader: &mut Reader<'_>) -> Result<Vec<Progress>, DecodeError> {
    let count = count(reader, "progress count", MAX_PROGRESS, LEAST_PROGRESS_BYTES)?;
    (0..count).map(|_| Progress::read(reader)).collect()
}

impl Progress {
    fn put(&self, out: &mut Vec<u8>) {
        let wants = if self.wants.is_some() { WANTS } else { 0 };
        let root = if self.root.is_some() { ROOT } else { 0 };
        out.put_u8(wants | root);
        out.put_u32_le(self.group.0);
        out.put_u8(self.seat.0);
        out.put_u32_le(self.incarnation.0);
        out.put_u64_le(self.position.0);
        out.put_u64_le(self.memory_bytes);
        out.put_u64_le(self.dirty_bytes);
        if let Some(time) = self.wants {
            time.put(out);
        }
        if let Some((position, root)) = &self.root {
            out.put_u64_le(position.0);
            out.put_slice(root);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.u8("progress flags")?;
        if flags & !(WANTS | ROOT) != 0 {
            return unknown("progress flags", flags);
        }
        let mut progress = Self {
            group: GroupId(reader.u32("progress group")?),
            seat: seat(reader)?,
            incarnation: Incarnation(reader.u32("progress incarnation")?),
            position: Position(reader.u64("progress position")?),
            memory_bytes: reader.u64("progress memory")?,
            dirty_bytes: reader.u64("progress dirty")?,
            wants: None,
            root: None,
        };
        if flags & WANTS != 0 {
            progress.wants = Some(Time::from_micros(reader.u56("progress wish")?));
        }
        if flags & ROOT != 0 {
            progress.root = Some((Position(reader.u64("root position")?), reader.array("root")?));
        }
        Ok(progress)
    }
}
