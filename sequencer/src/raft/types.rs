//! openraft's type parameters, and its entries as ours and back.

use std::fmt;

use bytes::Bytes;
use openraft::entry::{RaftEntry, RaftPayload};
use openraft::impls::leader_id_std;
use openraft::impls::{InlineBatch, OneshotResponder};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::vote::RaftLeaderId;
use openraft::{AnyError, Membership, RaftTypeConfig};
use refrain_wire::Position;
use refrain_wire::entry::Draft;

use super::membership;
use super::runtime::Runtime;
use crate::frame::{EntryId, EntryKind, LogEntry};

/// What is known of a member besides its number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Member {
    /// Where the others reach it; empty for a member that is alone.
    pub(crate) address: String,
}

/// The voting members and what is known of them.
pub(crate) type Members = Membership<u64, Member>;
/// Members, and the entry that made them.
pub(crate) type StoredMembers = StoredMembershipOf<Types>;
/// The id of an entry. A term has one leader, so the term and the index are enough.
pub(crate) type LogId = LogIdOf<Types>;
/// For whom a member votes.
pub(crate) type Vote = openraft::Vote<LeaderId>;
/// A candidate's name.
pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
/// Where a snapshot stands.
pub(crate) type SnapshotMeta = SnapshotMetaOf<Types>;
/// A snapshot with its state.
pub(crate) type Snapshot = SnapshotOf<Types, Bytes>;
/// The leader of a term.
pub(crate) type Leader = <LeaderId as RaftLeaderId>::Committed;
/// openraft's handle.
pub(crate) type Raft = openraft::Raft<Types, super::machine::Machine>;

/// openraft's parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Proposal;
    type R = ();
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = RaftLogEntry;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = AnyError;
}

/// A draft on its way to a position.
#[derive(Debug)]
pub(crate) struct Proposal(pub(crate) Draft);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "draft of {} batches", self.0.batches.len())
    }
}

/// What an entry carries inside openraft.
#[derive(Debug)]
pub(crate) enum Payload {
    Blank,
    /// Not yet encoded: it gets its position from the leader's append.
    Draft(Draft),
    Batches(Bytes),
    Membership(Members),
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => write!(f, "blank"),
            Self::Draft(draft) => write!(f, "draft of {} batches", draft.batches.len()),
            Self::Batches(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Membership(members) => write!(f, "{members}"),
        }
    }
}

impl RaftPayload for Payload {
    type D = Proposal;
    type NodeId = u64;
    type Node = Member;

    fn blank() -> Self {
        Self::Blank
    }

    fn with_normal(self, data: Proposal) -> Self {
        Self::Draft(data.0)
    }

    fn with_membership(self, members: Members) -> Self {
        Self::Membership(members)
    }

    fn get_membership(&self) -> Option<Members> {
        match self {
            Self::Membership(members) => Some(members.clone()),
            _ => None,
        }
    }
}

/// An entry inside openraft.
#[derive(Debug)]
pub(crate) struct RaftLogEntry {
    pub(crate) id: LogId,
    pub(crate) payload: Payload,
}

pub(crate) fn to_log_id(id: EntryId) -> LogId {
    LogId::new(Leader::from(id.term), id.index)
}

/// The leader's number is not kept: its term names it.
pub(crate) fn from_log_id(id: &LogId) -> EntryId {
    EntryId { term: id.leader_id.term, node: 0, index: id.index }
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
        write!(f, "{}:{}", self.id, self.payload)
    }
}

impl RaftEntry for RaftLogEntry {
    type CommittedLeaderId = Leader;
    type Payload = Payload;

    fn new(id: LogId, payload: Payload) -> Self {
        Self { id, payload }
    }

    fn log_id_parts(&self) -> (&Self::CommittedLeaderId, u64) {
        (&self.id.leader_id, self.id.index)
    }

    fn set_log_id(&mut self, id: LogId) {
        self.id = id;
    }

    fn get_membership(&self) -> Option<Members> {
        self.payload.get_membership()
    }
}
