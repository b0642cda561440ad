//! openraft's type parameters, and its entries as ours and back.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;

use bytes::Bytes;
use openraft::entry::{FromAppData, RaftEntry, RaftPayload};
use openraft::{CommittedLeaderId, LogId, Membership, RaftLogId, RaftTypeConfig, TokioRuntime};
use refrain_wire::Position;
use refrain_wire::entry::Draft;

use super::membership;
use crate::frame::{EntryId, EntryKind, LogEntry};

/// What is known of a member besides its number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Member {
    /// Where the others reach it; empty for a member that is alone.
    pub(crate) address: String,
}

/// The voting members and what is known of them.
pub(crate) type Members = Membership<u64, Member>;

/// openraft's parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Proposal;
    type R = ();
    type NodeId = u64;
    type Node = Member;
    type Entry = RaftLogEntry;
    type SnapshotData = Cursor<Vec<u8>>;
    type AsyncRuntime = TokioRuntime;
    type Responder = openraft::impls::OneshotResponder<Self>;
}

/// A draft on its way to a position.
#[derive(Debug)]
pub(crate) struct Proposal(pub(crate) Draft);

/// What an entry carries inside openraft.
#[derive(Debug)]
pub(crate) enum Payload {
    Blank,
    /// Not yet encoded: it gets its position from the leader's append.
    Draft(Draft),
    Batches(Bytes),
    Membership(Members),
}

/// An entry inside openraft.
#[derive(Debug)]
pub(crate) struct RaftLogEntry {
    pub(crate) id: LogId<u64>,
    pub(crate) payload: Payload,
}

pub(crate) fn to_log_id(id: EntryId) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(id.term, id.node), id.index)
}

pub(crate) fn from_log_id(id: &LogId<u64>) -> EntryId {
    EntryId { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

impl RaftLogEntry {
    /// The entry as it goes to disk. A draft is encoded here, once, for its position.
    pub(crate) fn into_log_entry(self) -> LogEntry {
        let id = from_log_id(&self.id);
        let (kind, payload) = match self.payload {
            Payload::Blank => (EntryKind::Blank, Bytes::new()),
            Payload::Draft(draft) => (EntryKind::Batches, draft.encode(Position(id.index))),
            Payload::Batches(bytes) => (EntryKind::Batches, bytes),
            Payload::Membership(members) => (EntryKind::Membership, membership::encode(&members)),
        };
        LogEntry { id, kind, payload }
    }

    /// The entry as openraft wants it; `None` when its members cannot be decoded.
    pub(crate) fn from_log_entry(entry: LogEntry) -> Option<Self> {
        let payload = match entry.kind {
            EntryKind::Blank => Payload::Blank,
            EntryKind::Batches => Payload::Batches(entry.payload),
            EntryKind::Membership => Payload::Membership(membership::decode(&entry.payload)?),
        };
        Some(Self { id: to_log_id(entry.id), payload })
    }
}

impl fmt::Display for RaftLogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

impl RaftPayload<u64, Member> for RaftLogEntry {
    fn is_blank(&self) -> bool {
        matches!(self.payload, Payload::Blank)
    }

    fn get_membership(&self) -> Option<&Members> {
        match &self.payload {
            Payload::Membership(members) => Some(members),
            _ => None,
        }
    }
}

impl RaftLogId<u64> for RaftLogEntry {
    fn get_log_id(&self) -> &LogId<u64> {
        &self.id
    }

    fn set_log_id(&mut self, id: &LogId<u64>) {
        self.id = *id;
    }
}

impl RaftEntry<u64, Member> for RaftLogEntry {
    fn new_blank(id: LogId<u64>) -> Self {
        Self { id, payload: Payload::Blank }
    }

    fn new_membership(id: LogId<u64>, members: Members) -> Self {
        Self { id, payload: Payload::Membership(members) }
    }
}

impl FromAppData<Proposal> for RaftLogEntry {
    fn from_app_data(proposal: Proposal) -> Self {
        Self { id: LogId::default(), payload: Payload::Draft(proposal.0) }
    }
}

/// The members of a log that one member begins.
pub(crate) fn alone(node: u64) -> BTreeMap<u64, Member> {
    BTreeMap::from([(node, Member::default())])
}
