//! A member that was removed learns of it: the leader sends it nothing any more, so it asks the others.
//!
//! Whoever has committed members without the caller, by a later entry than the one that the caller knows its members
//! from, says so. That is final: a change that is committed stays. A member that hears a leader asks nobody, so one
//! that is taken in and still reads of its own earlier removal is not misled.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use refrain_wire::{Generation, NodeId};
use tokio::time::Instant;

use super::RaftLog;
use super::link::Lane;
use super::message::{Request, Response};
use super::types::Raft;
use crate::log::OrderedLog as _;

/// For how many leases a member hears no leader before it asks the others whether it is one still.
const SILENT_LEASES: u32 = 2;

/// A member that is none any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node {node} is no member of the log {generation} any more: it was removed, as node {by} says")]
pub struct Removed {
    /// The member that was.
    pub node: NodeId,
    /// The log.
    pub generation: Generation,
    /// Who said so.
    pub by: NodeId,
}

/// When a leader was heard last. Clones share it.
#[derive(Clone)]
pub(super) struct Heard {
    last: Arc<Mutex<Instant>>,
    lease: Duration,
}

impl Heard {
    pub(super) fn now(lease: Duration) -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())), lease }
    }

    pub(super) fn leader(&self) {
        *self.last.lock() = Instant::now();
    }

    /// Whether that was within so many leases.
    fn within(&self, leases: u32) -> bool {
        self.last.lock().elapsed() < self.lease * leases
    }
}

/// Answers a member that asks whether it is one still: it was after the entry `after`. Who leads, or has heard a leader
/// within a lease, knows; who is behind may lack the entry that takes the caller in again.
pub(super) fn answer(raft: &Raft, heard: &Heard, caller: NodeId, after: u64) -> Response {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let leads = metrics.current_leader == Some(metrics.id);
    if !leads && !heard.within(1) {
        return Response::Done;
    }
    let members = &metrics.membership_config;
    let applied = metrics.last_applied.map_or(0, |id| id.index);
    let since = members.log_id().map_or(0, |id| id.index);
    let is_member = members.nodes().any(|(node, _)| *node == caller.0);
    if is_member || since <= after || since > applied {
        return Response::Done;
    }
    Response::Refused(format!("node {caller} was removed at {since}"))
}

impl RaftLog {
    /// Waits until others say that this member was removed from the log. May be dropped and called again.
    pub async fn until_removed(&self) -> Removed {
        let lease = self.lease();
        loop {
            tokio::time::sleep(lease).await;
            if !self.beginning.begun() || self.leading().is_some() || self.heard.within(SILENT_LEASES) {
                continue;
            }
            let (after, others) = self.own_standing();
            for (node, address) in others {
                // A member of an older version closes the stream on this question: that of votes is another.
                let link = self.peers.link(node, &address, Lane::Bulk);
                let answer = tokio::time::timeout(lease, link.call(Request::Standing { after })).await;
                if let Ok(Ok(Response::Refused(_))) = answer {
                    return Removed { node: self.node, generation: self.generation(), by: node };
                }
            }
        }
    }

    /// After which entry this member is known to be one, and who the others are. One that has the entry of its removal
    /// asks for that as well: it may not be committed.
    fn own_standing(&self) -> (u64, Vec<(NodeId, String)>) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = &metrics.membership_config;
        let since = members.log_id().map_or(0, |id| id.index);
        let is_member = members.nodes().any(|(node, _)| *node == self.node.0);
        let others = members.nodes().filter(|(node, _)| **node != self.node.0);
        let others = others.map(|(node, member)| (NodeId(*node), member.address.clone())).collect();
        (if is_member { since } else { since.saturating_sub(1) }, others)
    }
}
