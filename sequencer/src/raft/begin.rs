//! How a log begins, and how a member finds its place in one.
//!
//! A log with several members begins once: the initial member with the lowest number draws the generation, makes it
//! durable, gets every other initial member, all with empty logs, to make it durable as well, and only then appends
//! the first entry. A member that joins learns the generation from the leader that takes it in.
//!
//! A member without a history whose votes count already has lost its disk: it may have acknowledged what it no longer
//! has, so it is refused for good and needs a new number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::watch;
use bytes::Bytes;
use refrain_wire::{ClusterId, Generation, NodeId};

use super::link::Lane;
use super::membership;
use super::message::{Request, Response};
use super::network::Peers;
use super::storage::{completed, completion};
use super::types::{Member, Members, Raft};
use crate::segment_log::SegmentLog;
use crate::writer::WriteError;

/// Who the members of a log are when this member knows no history yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// This member begins a log alone.
    Alone,
    /// These members, with their addresses, begin a log together. All must be given the same.
    Initial(BTreeMap<NodeId, String>),
    /// A log is there, and its leader takes this member in.
    Join,
}

/// Why a member takes part in no log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BeginError {
    /// The member's votes count, but it has no history.
    #[error(
        "node {node} has no log, but is a voting member of the log {generation}: a member that lost its disk needs a \
         new id"
    )]
    LostDisk {
        /// The member.
        node: NodeId,
        /// The log that knows it.
        generation: Generation,
    },
    /// Another initial member belongs to a log already, or was given other members.
    #[error("node {node} does not begin the log with this one: {reason}")]
    Refused {
        /// The other member.
        node: NodeId,
        /// What it says.
        reason: String,
    },
    /// The initial members do not name this one.
    #[error("node {node} is not among the initial members")]
    NotAMember {
        /// This member.
        node: NodeId,
    },
    /// The disk.
    #[error("the beginning of the log cannot be written")]
    Write(#[from] WriteError),
    /// Raft refused the first entry.
    #[error("the first entry cannot be appended: {reason}")]
    First {
        /// What Raft says.
        reason: String,
    },
}

/// Why a member does not begin a log with another one.
#[derive(Debug)]
pub(crate) enum NotBegun {
    /// It never will.
    Never(String),
    /// Its disk took nothing: it may begin when it was started again.
    NotNow(WriteError),
}

#[derive(Debug, Clone)]
enum Place {
    /// No history yet.
    Outside,
    /// A member of a log.
    Inside,
    /// Never a member again.
    Refused(BeginError),
}

/// What a member knows of its place, shared with those who serve its streams.
pub(crate) struct Beginning {
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    log: Arc<SegmentLog>,
    bootstrap: Bootstrap,
    place: watch::Sender<Place>,
}

impl Beginning {
    pub(crate) fn new(node: NodeId, cluster: ClusterId, log: Arc<SegmentLog>, bootstrap: Bootstrap) -> Self {
        let begun = log.meta().begun || log.last().is_some();
        let place = watch::Sender::new(if begun { Place::Inside } else { Place::Outside });
        Self { node, cluster, log, bootstrap, place }
    }

    /// Whether the member takes part in a log.
    pub(crate) fn begun(&self) -> bool {
        matches!(*self.place.borrow(), Place::Inside)
    }

    /// The history that the member knows; all zero for none.
    pub(crate) fn known(&self) -> Generation {
        if self.begun() { self.log.meta().generation } else { Generation([0; 16]) }
    }

    fn refusal(&self) -> Option<BeginError> {
        match &*self.place.borrow() {
            Place::Refused(error) => Some(error.clone()),
            Place::Outside | Place::Inside => None,
        }
    }

    fn initial(&self) -> Option<&BTreeMap<NodeId, String>> {
        match &self.bootstrap {
            Bootstrap::Initial(members) => Some(members),
            Bootstrap::Alone | Bootstrap::Join => None,
        }
    }

    /// Makes the generation this member's own.
    pub(crate) async fn settle(&self, generation: Generation) -> Result<(), WriteError> {
        let (done, receiver) = completion();
        let change = move |meta: &mut crate::meta::Meta| {
            meta.generation = generation;
            meta.begun = true;
        };
        self.log.change_meta(change, done);
        let settled = completed(receiver).await;
        // A log that cannot write has failed, also for whoever waits to take part.
        let place = settled.clone().map_or_else(|error| Place::Refused(error.into()), |()| Place::Inside);
        self.place.send_replace(place);
        settled
    }

    /// The member with the lowest number begins a log.
    pub(crate) async fn begin(&self, caller: NodeId, generation: Generation, members: &Bytes) -> Result<(), NotBegun> {
        if self.begun() {
            let ours = self.known();
            if ours == generation && self.log.last().is_none() {
                return Ok(());
            }
            let voter = membership::stored(&self.log.meta().membership)
                .is_some_and(|(_, members)| members.voter_ids().any(|id| id == caller.0));
            let lost = voter.then(|| BeginError::LostDisk { node: caller, generation: ours }.to_string());
            return Err(NotBegun::Never(lost.unwrap_or_else(|| format!("it belongs to the log {ours} already"))));
        }
        let expected = self.initial().and_then(first_members).map(|members| membership::encode(&members));
        let lowest = self.initial().and_then(|initial| initial.keys().next().copied());
        if expected.as_ref() != Some(members) || lowest != Some(caller) {
            return Err(NotBegun::Never("it was given other initial members".to_owned()));
        }
        self.settle(generation).await.map_err(NotBegun::NotNow)
    }

    /// The leader of a log takes this member in.
    pub(crate) async fn adopt(&self, caller: NodeId, generation: Generation, voter: bool) -> Result<(), String> {
        if self.begun() {
            return if self.known() == generation { Ok(()) } else { Err("it belongs to another log".to_owned()) };
        }
        if voter {
            let error = BeginError::LostDisk { node: self.node, generation };
            let reason = error.to_string();
            if self.refusal().is_none() {
                tracing::error!(by = %caller, "{reason}");
            }
            self.place.send_replace(Place::Refused(error));
            return Err(reason);
        }
        if self.bootstrap != Bootstrap::Join {
            return Err(format!("node {} was not told to join a log", self.node));
        }
        self.settle(generation).await.map_err(|error| error.to_string())
    }

    /// Waits until this member takes part in a log; begins one where that is its part. Can be dropped and called
    /// again.
    pub(crate) async fn run(&self, raft: &Raft, peers: &Peers, pause: Duration) -> Result<(), BeginError> {
        if let Some(initial) = self.initial()
            && !initial.contains_key(&self.node)
        {
            return Err(BeginError::NotAMember { node: self.node });
        }
        if let Some(initial) = self.initial()
            && initial.keys().next() == Some(&self.node)
            && self.log.last().is_none()
        {
            return self.begin_all(initial, raft, peers, pause).await;
        }
        let mut place = self.place.subscribe();
        // The sender is this very object's.
        let _ = place.wait_for(|place| !matches!(place, Place::Outside)).await;
        self.refusal().map_or(Ok(()), Err)
    }

    async fn begin_all(
        &self,
        initial: &BTreeMap<NodeId, String>,
        raft: &Raft,
        peers: &Peers,
        pause: Duration,
    ) -> Result<(), BeginError> {
        let members = first_members(initial).ok_or(BeginError::NotAMember { node: self.node })?;
        let generation = self.log.meta().generation;
        for (node, address) in initial.iter().filter(|(node, _)| **node != self.node) {
            let link = peers.link(*node, address, Lane::Urgent);
            let mut told = String::new();
            loop {
                let request = Request::Begin { generation, members: membership::encode(&members) };
                match link.call(request).await {
                    Ok(Response::Done) => break,
                    Ok(Response::Refused(reason)) => return Err(self.refused(*node, reason)),
                    Ok(Response::Failed(reason)) => {
                        if reason != told {
                            tracing::warn!(%node, reason, "an initial member cannot begin the log yet");
                            told = reason;
                        }
                        tokio::time::sleep(pause).await;
                    }
                    Ok(_) => return Err(self.refused(*node, "it gave the answer to another question".to_owned())),
                    // It may not be up yet; the link has told.
                    Err(_) => tokio::time::sleep(pause).await,
                }
                if let Some(error) = self.refusal() {
                    return Err(error);
                }
            }
        }
        if !self.begun() {
            self.settle(generation).await?;
        }
        let nodes: BTreeMap<u64, Member> = members.nodes().map(|(node, member)| (*node, member.clone())).collect();
        raft.initialize(nodes).await.map_err(|error| BeginError::First { reason: error.to_string() })
    }

    fn refused(&self, node: NodeId, reason: String) -> BeginError {
        let error = BeginError::Refused { node, reason };
        tracing::error!("{error}");
        error
    }
}

/// The first members of a log; `None` when there are none.
fn first_members(initial: &BTreeMap<NodeId, String>) -> Option<Members> {
    let nodes: BTreeMap<u64, Member> =
        initial.iter().map(|(node, address)| (node.0, Member { address: address.clone() })).collect();
    Members::new(vec![nodes.keys().copied().collect()], nodes).ok()
}
