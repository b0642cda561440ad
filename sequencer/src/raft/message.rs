//! What members tell each other: requests of whoever opened the stream, and answers to them.
//!
//! Every request but a ping has a number, and so has its answer; answers come in any order. Entries travel as they
//! stand in the log: their payloads are written from where they are and cut from what was read, without a copy of
//! large ones. Decoding checks every length; `None` means that the bytes are no such message.

use bytes::{Buf, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use refrain_wire::Generation;
use refrain_wire::stream::{Frame, FrameDecoder, FrameQueue, Role};

use super::cursor::{Cursor, put_log_id, put_vote};
use super::membership;
use super::types::{LogId, Payload, RaftLogEntry, SnapshotMeta, StoredMembers, Types, Vote};
use crate::frame::{END_OF_INDEXES, EntryId, EntryKind, LogEntry, MAX_PAYLOAD_BYTES};

mod kind {
    pub(super) const APPEND: u8 = 2;
    pub(super) const VOTE: u8 = 3;
    pub(super) const PRE_VOTE: u8 = 4;
    pub(super) const TRANSFER: u8 = 5;
    pub(super) const PIECE: u8 = 6;
    pub(super) const BEGIN: u8 = 7;
    pub(super) const ADOPT: u8 = 8;
    pub(super) const PING: u8 = 9;
    pub(super) const STANDING: u8 = 10;
    pub(super) const APPENDED: u8 = 65;
    pub(super) const VOTED: u8 = 66;
    pub(super) const DONE: u8 = 67;
    pub(super) const INSTALLED: u8 = 68;
    pub(super) const FAILED: u8 = 69;
    pub(super) const PONG: u8 = 70;
    pub(super) const REFUSED: u8 = 71;
}

/// The longest reason of a failure, in bytes.
const MAX_REASON_BYTES: usize = 512;

/// A part of a snapshot.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The vote of the leader that sends it.
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// How many bytes the whole state has.
    pub(crate) total_bytes: u64,
    /// Where in it these stand.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// What a member asks of another.
#[derive(Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    Piece(Piece),
    /// A log begins: take its generation and its first members.
    Begin {
        generation: Generation,
        members: Bytes,
    },
    /// A log that has begun takes a member in; `voter` says that it counts this member's votes already.
    Adopt {
        generation: Generation,
        voter: bool,
    },
    /// Whether the caller is a member yet: it was one after this entry, and is refused when a later one, which is
    /// committed, has removed it.
    Standing {
        after: u64,
    },
    /// Say that the stream lives.
    Ping,
}

/// What the other says.
#[derive(Debug)]
pub(crate) enum Response {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    /// It is done, or taken.
    Done,
    /// The snapshot is installed, or the vote is higher.
    Installed(Vote),
    /// It was not done; it may be another time.
    Failed(String),
    /// It will never be done.
    Refused(String),
    Pong,
}

/// Whether a frame that is a request or an answer says the same after it was written anew; `None` when it is neither.
/// For tests of the decoders, since messages are not seen outside.
#[must_use]
pub fn comes_back(frame: &Frame) -> Option<bool> {
    let written = written_anew(frame)?;
    Some(written_anew(&written).as_ref() == Some(&written))
}

fn written_anew(frame: &Frame) -> Option<Frame> {
    let mut queue = FrameQueue::default();
    if let Some((number, request)) = Request::decode(frame) {
        request.encode(number, &mut queue);
    } else {
        let (number, response) = Response::decode(frame)?;
        response.encode(number, &mut queue);
    }
    let mut bytes = BytesMut::from(&*queue.copy_to_bytes(queue.remaining()));
    FrameDecoder::new(Role::Raft).decode(&mut bytes).ok().flatten()
}

impl Request {
    /// Adds the request to the queue.
    pub(crate) fn encode(&self, number: u64, out: &mut FrameQueue) {
        let no_bulk = std::iter::empty();
        match self {
            Self::Append(append) => encode_append(append, number, out),
            Self::Vote(vote) => out.frame_with(kind::VOTE, |out| put_ballot(out, number, vote), no_bulk),
            Self::PreVote(vote) => out.frame_with(kind::PRE_VOTE, |out| put_ballot(out, number, vote), no_bulk),
            Self::Transfer(transfer) => {
                let fill = |out: &mut Vec<u8>| {
                    out.extend_from_slice(&number.to_le_bytes());
                    put_vote(out, transfer.from_leader());
                    out.extend_from_slice(&transfer.to_node_id().to_le_bytes());
                    put_log_id(out, transfer.last_log_id().copied());
                };
                out.frame_with(kind::TRANSFER, fill, no_bulk);
            }
            Self::Piece(piece) => {
                let fill = |out: &mut Vec<u8>| put_piece(out, number, piece);
                out.frame_with(kind::PIECE, fill, std::iter::once(&piece.bytes));
            }
            Self::Begin { generation, members } => {
                let fill = |out: &mut Vec<u8>| {
                    out.extend_from_slice(&number.to_le_bytes());
                    out.extend_from_slice(&generation.0);
                };
                out.frame_with(kind::BEGIN, fill, std::iter::once(members));
            }
            Self::Adopt { generation, voter } => {
                let fill = |out: &mut Vec<u8>| {
                    out.extend_from_slice(&number.to_le_bytes());
                    out.extend_from_slice(&generation.0);
                    out.push(u8::from(*voter));
                };
                out.frame_with(kind::ADOPT, fill, no_bulk);
            }
            Self::Standing { after } => {
                let fill = |out: &mut Vec<u8>| {
                    out.extend_from_slice(&number.to_le_bytes());
                    out.extend_from_slice(&after.to_le_bytes());
                };
                out.frame_with(kind::STANDING, fill, no_bulk);
            }
            Self::Ping => out.frame(kind::PING, &[]),
        }
    }

    /// The request in a frame, with its number; 0 for a ping.
    pub(crate) fn decode(frame: &Frame) -> Option<(u64, Self)> {
        let mut cursor = Cursor::new(&frame.payload);
        if frame.kind == kind::PING {
            cursor.end()?;
            return Some((0, Self::Ping));
        }
        let number = cursor.u64()?;
        let request = match frame.kind {
            kind::APPEND => Self::Append(take_append(&mut cursor)?),
            kind::VOTE => Self::Vote(take_ballot(&mut cursor)?),
            kind::PRE_VOTE => Self::PreVote(take_ballot(&mut cursor)?),
            kind::TRANSFER => {
                Self::Transfer(TransferLeaderRequest::new(cursor.vote()?, cursor.u64()?, cursor.log_id()?))
            }
            kind::PIECE => Self::Piece(take_piece(&mut cursor)?),
            kind::BEGIN => Self::Begin { generation: Generation(cursor.array()?), members: cursor.rest() },
            kind::ADOPT => Self::Adopt { generation: Generation(cursor.array()?), voter: cursor.flag()? },
            kind::STANDING => Self::Standing { after: cursor.u64()? },
            _ => return None,
        };
        cursor.end()?;
        Some((number, request))
    }
}

fn put_reason(out: &mut Vec<u8>, reason: &str) {
    out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON_BYTES)]);
}

fn take_reason(cursor: &mut Cursor<'_>) -> Option<String> {
    let reason = cursor.rest();
    let within = reason.len() <= MAX_REASON_BYTES;
    within.then(|| String::from_utf8(reason.to_vec()).ok())?
}

impl Response {
    /// Adds the answer to the queue.
    pub(crate) fn encode(&self, number: u64, out: &mut FrameQueue) {
        let mut put = |kind: u8, fill: &dyn Fn(&mut Vec<u8>)| {
            let all = |out: &mut Vec<u8>| {
                out.extend_from_slice(&number.to_le_bytes());
                fill(out);
            };
            out.frame_with(kind, all, std::iter::empty());
        };
        match self {
            Self::Append(AppendEntriesResponse::Success) => put(kind::APPENDED, &|out| out.push(0)),
            Self::Append(AppendEntriesResponse::PartialSuccess(upto)) => put(kind::APPENDED, &|out| {
                out.push(1);
                put_log_id(out, *upto);
            }),
            Self::Append(AppendEntriesResponse::Conflict) => put(kind::APPENDED, &|out| out.push(2)),
            Self::Append(AppendEntriesResponse::HigherVote(vote)) => put(kind::APPENDED, &|out| {
                out.push(3);
                put_vote(out, vote);
            }),
            Self::Vote(vote) => put(kind::VOTED, &|out| {
                put_vote(out, &vote.vote);
                out.push(u8::from(vote.vote_granted));
                put_log_id(out, vote.last_log_id);
            }),
            Self::Done => put(kind::DONE, &|_| {}),
            Self::Installed(vote) => put(kind::INSTALLED, &|out| put_vote(out, vote)),
            Self::Failed(reason) => put(kind::FAILED, &|out| put_reason(out, reason)),
            Self::Refused(reason) => put(kind::REFUSED, &|out| put_reason(out, reason)),
            Self::Pong => out.frame(kind::PONG, &[]),
        }
    }

    /// The answer in a frame, with the number of its request; 0 for a pong.
    pub(crate) fn decode(frame: &Frame) -> Option<(u64, Self)> {
        let mut cursor = Cursor::new(&frame.payload);
        if frame.kind == kind::PONG {
            cursor.end()?;
            return Some((0, Self::Pong));
        }
        let number = cursor.u64()?;
        let response = match frame.kind {
            kind::APPENDED => Self::Append(match cursor.u8()? {
                0 => AppendEntriesResponse::Success,
                1 => AppendEntriesResponse::PartialSuccess(cursor.log_id()?),
                2 => AppendEntriesResponse::Conflict,
                3 => AppendEntriesResponse::HigherVote(cursor.vote()?),
                _ => return None,
            }),
            kind::VOTED => {
                let (vote, granted, last) = (cursor.vote()?, cursor.flag()?, cursor.log_id()?);
                Self::Vote(VoteResponse::new(vote, last, granted))
            }
            kind::DONE => Self::Done,
            kind::INSTALLED => Self::Installed(cursor.vote()?),
            kind::FAILED => Self::Failed(take_reason(&mut cursor)?),
            kind::REFUSED => Self::Refused(take_reason(&mut cursor)?),
            _ => return None,
        };
        cursor.end()?;
        Some((number, response))
    }
}

fn put_ballot(out: &mut Vec<u8>, number: u64, request: &VoteRequest<Types>) {
    out.extend_from_slice(&number.to_le_bytes());
    put_vote(out, &request.vote);
    put_log_id(out, request.last_log_id);
    out.push(u8::from(request.leadership_transfer));
}

fn take_ballot(cursor: &mut Cursor<'_>) -> Option<VoteRequest<Types>> {
    let mut request = VoteRequest::new(cursor.vote()?, cursor.log_id()?);
    request.leadership_transfer = cursor.flag()?;
    Some(request)
}

/// `vote | previous | committed | count u32 | (term u64 | kind u8 | length u32) * | payloads`: the entries follow the
/// previous one without gaps.
fn encode_append(append: &AppendEntriesRequest<Types>, number: u64, out: &mut FrameQueue) {
    let payloads: Vec<(EntryKind, Bytes)> = append.entries.iter().map(|entry| payload(&entry.payload)).collect();
    let fill = |out: &mut Vec<u8>| {
        out.extend_from_slice(&number.to_le_bytes());
        put_vote(out, &append.vote);
        put_log_id(out, append.prev_log_id);
        put_log_id(out, append.leader_commit);
        out.extend_from_slice(&(append.entries.len() as u32).to_le_bytes());
        for (entry, (kind, bytes)) in append.entries.iter().zip(&payloads) {
            out.extend_from_slice(&entry.id.leader_id.term.to_le_bytes());
            out.push(*kind as u8);
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        }
    };
    out.frame_with(kind::APPEND, fill, payloads.iter().map(|(_, bytes)| bytes));
}

fn payload(payload: &Payload) -> (EntryKind, Bytes) {
    match payload {
        Payload::Blank => (EntryKind::Blank, Bytes::new()),
        Payload::Batches(bytes) => (EntryKind::Batches, bytes.clone()),
        Payload::Membership(members) => (EntryKind::Membership, membership::encode(members)),
        Payload::Draft(_) => unreachable!("entries are read from the log, which holds no drafts"),
    }
}

fn take_append(cursor: &mut Cursor<'_>) -> Option<AppendEntriesRequest<Types>> {
    let (vote, prev_log_id, leader_commit) = (cursor.vote()?, cursor.log_id()?, cursor.log_id()?);
    let first = prev_log_id.map_or(0, |id: LogId| id.index + 1);
    let heads = cursor.counted(13)?;
    let count = heads.len() / 13;
    if first + count as u64 > END_OF_INDEXES {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for (index, head) in (first..).zip(heads.chunks_exact(13)) {
        let term = u64::from_le_bytes(head[..8].try_into().ok()?);
        let len = u32::from_le_bytes(head[9..].try_into().ok()?) as usize;
        // A log that had such an entry could not be read again.
        if term >= END_OF_INDEXES || len > MAX_PAYLOAD_BYTES {
            return None;
        }
        let id = EntryId { term, node: 0, index };
        let entry = LogEntry { id, kind: EntryKind::decode(head[8])?, payload: cursor.take(len)? };
        entries.push(RaftLogEntry::from_log_entry(entry)?);
    }
    Some(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

fn put_piece(out: &mut Vec<u8>, number: u64, piece: &Piece) {
    out.extend_from_slice(&number.to_le_bytes());
    put_vote(out, &piece.vote);
    put_meta(out, &piece.meta);
    out.extend_from_slice(&piece.total_bytes.to_le_bytes());
    out.extend_from_slice(&piece.offset.to_le_bytes());
}

fn take_piece(cursor: &mut Cursor<'_>) -> Option<Piece> {
    Some(Piece {
        vote: cursor.vote()?,
        meta: take_meta(cursor)?,
        total_bytes: cursor.u64()?,
        offset: cursor.u64()?,
        bytes: cursor.rest(),
    })
}

/// `last entry | entry of the members | length u32 | members`.
pub(crate) fn put_meta(out: &mut Vec<u8>, meta: &SnapshotMeta) {
    put_log_id(out, meta.last_log_id);
    put_log_id(out, *meta.last_membership.log_id());
    let members = membership::encode(meta.last_membership.membership());
    out.extend_from_slice(&(members.len() as u32).to_le_bytes());
    out.extend_from_slice(&members);
}

pub(crate) fn take_meta(cursor: &mut Cursor<'_>) -> Option<SnapshotMeta> {
    let (last_log_id, made_by) = (cursor.log_id()?, cursor.log_id()?);
    let len = cursor.u32()? as usize;
    let members = membership::decode(&cursor.take(len)?)?;
    Some(SnapshotMeta { last_log_id, last_membership: StoredMembers::new(made_by, members) })
}

#[cfg(test)]
mod tests;
