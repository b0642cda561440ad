//! Changes of the members, and the transfer of the lead. All are asked of the leader.
//!
//! A new member first copies the log without a vote, and gets its vote when it has caught up. A change goes on when
//! its future is dropped; asked again, it goes on from where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use refrain_wire::NodeId;

use super::RaftLog;
use super::membership::MAX_ADDRESS_BYTES;
use super::types::{Member, Types};
use crate::log::{AppendError, OrderedLog};

/// The most members of a log, those without a vote included.
pub const MAX_MEMBERS: usize = 9;
/// For how many leases a new member may make no progress before it is given up.
const PATIENCE_LEASES: u32 = 10;

/// A member of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub node: NodeId,
    /// Where the others reach it.
    pub address: String,
    /// Whether its vote counts.
    pub voter: bool,
    /// The last entry that the leader knows it to have; `None` when this member does not lead.
    pub matched: Option<u64>,
}

/// Why the members were not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MemberError {
    /// The log cannot order the change.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// An earlier change is not committed yet.
    #[error("another change of the members is under way")]
    InProgress,
    /// The address is of no use.
    #[error("the address {address:?} of node {node} is empty or longer than {MAX_ADDRESS_BYTES} bytes")]
    Address {
        /// The node.
        node: NodeId,
        /// Its address.
        address: String,
    },
    /// This member can be the only one: others could not reach it.
    #[error("node {node} has no address for other nodes: start it again with one, by `--peer-listen ADDR`")]
    Unreachable {
        /// The node that has none.
        node: NodeId,
    },
    /// Another member is there.
    #[error("{address} is the address of node {node}, which is a member already")]
    Taken {
        /// That member.
        node: NodeId,
        /// Its address.
        address: String,
    },
    /// The node is a member with another address.
    #[error("node {node} is a member already, at {address}")]
    Exists {
        /// The node.
        node: NodeId,
        /// Its address.
        address: String,
    },
    /// There are as many members as there may be.
    #[error("the log has {MAX_MEMBERS} members, more are not allowed")]
    TooMany,
    /// The node is no member.
    #[error("node {node} is no member of the log")]
    NotAMember {
        /// The node.
        node: NodeId,
    },
    /// The node has no vote.
    #[error("node {node} has no vote")]
    NotAVoter {
        /// The node.
        node: NodeId,
    },
    /// The node is the last one.
    #[error("node {node} is the only voting member of the log")]
    Last {
        /// The node.
        node: NodeId,
    },
    /// The new member does not catch up. It stays without a vote until it is removed or added again.
    #[error("node {node} at {address} has made no progress for {waited:?} and has no vote yet")]
    NoProgress {
        /// The node.
        node: NodeId,
        /// Its address.
        address: String,
        /// How long.
        waited: Duration,
    },
    /// The new member lacks something else. It stays without a vote until it is removed or added again.
    #[error("node {node} has no vote yet: {reason}")]
    NotReady {
        /// The node.
        node: NodeId,
        /// What it lacks.
        reason: String,
    },
    /// The node did not take the lead in time. Whoever wins the election leads.
    #[error("node {node} did not take the lead within {waited:?}")]
    NotTaken {
        /// The node.
        node: NodeId,
        /// How long.
        waited: Duration,
    },
    /// Raft has a reason of its own.
    #[error("the members cannot be changed: {reason}")]
    Raft {
        /// The reason.
        reason: String,
    },
}

impl RaftLog {
    /// All members as this one knows them.
    #[must_use]
    pub fn members(&self) -> Vec<MemberStatus> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let matched = |node: u64| metrics.replication.as_ref()?.get(&node)?.map(|id| id.index);
        let status = |(node, member): (&u64, &Member)| MemberStatus {
            node: NodeId(*node),
            address: member.address.clone(),
            voter: voters.contains(node),
            matched: matched(*node),
        };
        metrics.membership_config.nodes().map(status).collect()
    }

    fn member(&self, node: NodeId) -> Option<MemberStatus> {
        self.members().into_iter().find(|member| member.node == node)
    }

    /// Takes a node in: it copies the log, then gets its vote. Returns when the vote counts.
    ///
    /// # Errors
    /// When this member does not lead, the node does not catch up, or the change is refused.
    pub async fn add_member(&self, node: NodeId, address: &str) -> Result<(), MemberError> {
        self.add_member_when(node, address, async { Ok(()) }).await
    }

    /// The same, and the node gets its vote only when it has what else it needs: `ready` says so, or why it never will.
    ///
    /// # Errors
    /// As above, and when `ready` fails: the node stays without a vote until it is removed or added again.
    pub async fn add_member_when(
        &self,
        node: NodeId,
        address: &str,
        ready: impl Future<Output = Result<(), String>>,
    ) -> Result<(), MemberError> {
        if address.is_empty() || address.len() > MAX_ADDRESS_BYTES {
            return Err(MemberError::Address { node, address: address.to_owned() });
        }
        self.must_lead()?;
        match self.member(node) {
            Some(member) if member.address != address => {
                return Err(MemberError::Exists { node, address: member.address });
            }
            Some(member) if member.voter => return Ok(()),
            Some(_) => {}
            None if self.members().len() >= MAX_MEMBERS => return Err(MemberError::TooMany),
            None => {
                if self.member(self.node).is_some_and(|own| own.address.is_empty()) {
                    return Err(MemberError::Unreachable { node: self.node });
                }
                if let Some(other) = self.members().into_iter().find(|member| member.address == address) {
                    return Err(MemberError::Taken { node: other.node, address: other.address });
                }
                let member = Member { address: address.to_owned() };
                self.change(ChangeMembers::AddNodes(BTreeMap::from([(node.0, member)]))).await?;
            }
        }
        self.caught_up(node, address).await?;
        ready.await.map_err(|reason| MemberError::NotReady { node, reason })?;
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node.0]))).await
    }

    /// Waits until a member has what was committed when this was called.
    async fn caught_up(&self, node: NodeId, address: &str) -> Result<(), MemberError> {
        let goal = self.committed().0;
        let waited = self.lease() * PATIENCE_LEASES;
        let mut metrics = self.raft.metrics();
        let mut best = None;
        loop {
            let member = self.member(node).ok_or(MemberError::NotAMember { node })?;
            if member.matched.is_some_and(|matched| matched >= goal) {
                return Ok(());
            }
            best = best.max(member.matched);
            let further = async {
                loop {
                    metrics.changed().await.map_err(|_| self.fatal())?;
                    self.must_lead()?;
                    if self.member(node).is_none_or(|member| member.matched > best) {
                        return Ok::<_, AppendError>(());
                    }
                }
            };
            match tokio::time::timeout(waited, further).await {
                Ok(moved) => moved?,
                Err(_) => return Err(MemberError::NoProgress { node, address: address.to_owned(), waited }),
            }
        }
    }

    /// Takes a member's vote away and forgets the member. A leader that removes itself hands the lead over.
    ///
    /// # Errors
    /// When this member does not lead, or the change is refused.
    pub async fn remove_member(&self, node: NodeId) -> Result<(), MemberError> {
        self.must_lead()?;
        let member = self.member(node).ok_or(MemberError::NotAMember { node })?;
        if !member.voter {
            return self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node.0]))).await;
        }
        if self.members().iter().filter(|member| member.voter).count() == 1 {
            return Err(MemberError::Last { node });
        }
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([node.0]))).await?;
        self.peers.retain(|other| other != node);
        Ok(())
    }

    /// Hands the lead over to a member; returns when that member leads, as far as this one sees it. Appends are refused
    /// meanwhile, and none that was acknowledged is lost.
    ///
    /// # Errors
    /// When this member does not lead, or the other does not take over in time.
    pub async fn transfer_leader(&self, node: NodeId) -> Result<(), MemberError> {
        self.must_lead()?;
        match self.member(node) {
            None => return Err(MemberError::NotAMember { node }),
            Some(member) if !member.voter => return Err(MemberError::NotAVoter { node }),
            Some(_) if node == self.node => return Ok(()),
            Some(_) => {}
        }
        let waited = self.lease() * 2;
        let mut leadership = self.leadership();
        self.raft.trigger().transfer_leader(node.0).await.map_err(|_| self.fatal())?;
        let taken = leadership.wait_for(|leadership| leadership.leader == Some(node));
        match tokio::time::timeout(waited, taken).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.fatal().into()),
            Err(_) => Err(MemberError::NotTaken { node, waited }),
        }
    }

    fn must_lead(&self) -> Result<(), AppendError> {
        let now = self.view.now();
        match now {
            _ if now.leading => Ok(()),
            _ if now.leader == Some(self.node) => Err(AppendError::NoQuorum),
            _ => Err(AppendError::NotLeader { leader: now.leader }),
        }
    }

    pub(super) async fn change(&self, change: ChangeMembers<u64, Member>) -> Result<(), MemberError> {
        let write = self.raft.change_membership(change, false);
        let written = self.in_bounded_time(write).await.ok_or(AppendError::Unknown)?;
        written.map(drop).map_err(|error| self.member_error(error))
    }

    fn member_error(&self, error: RaftError<Types, ClientWriteError<Types>>) -> MemberError {
        match error {
            RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
                MemberError::InProgress
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
                MemberError::Raft { reason: error.to_string() }
            }
            other => self.append_error(other).into(),
        }
    }
}
