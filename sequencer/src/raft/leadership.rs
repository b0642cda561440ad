//! Who leads, from openraft's metrics: derived when asked, and told at every change.
//!
//! A member leads when it was elected, has applied an entry of its own term (so everything that earlier leaders
//! ordered), and a majority acknowledged it within the longest election timeout. Until then no other member can have
//! been elected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::watch;
use openraft::RaftTypeConfig;
use openraft::async_runtime::{Instant, WatchReceiver};
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::rt::AsyncRuntime;
use openraft::type_config::alias::WatchReceiverOf;
use refrain_wire::NodeId;

use super::types::{Raft, Types};
use crate::log::Leadership;

type Runtime = <Types as RaftTypeConfig>::AsyncRuntime;

/// The metrics that say who leads.
#[derive(Clone)]
pub(crate) struct View {
    node: NodeId,
    server: WatchReceiverOf<Types, RaftServerMetrics<Types>>,
    data: WatchReceiverOf<Types, RaftDataMetrics<Types>>,
    lease: Duration,
    ended: Arc<AtomicBool>,
}

impl View {
    pub(crate) fn new(raft: &Raft, node: NodeId, lease: Duration) -> Self {
        Self { node, server: raft.server_metrics(), data: raft.data_metrics(), lease, ended: Arc::default() }
    }

    pub(crate) fn now(&self) -> Leadership {
        let (term, leader) = {
            let server = self.server.borrow_watched();
            (server.vote.leader_id.term, server.current_leader.map(NodeId))
        };
        if self.ended.load(Ordering::Acquire) {
            return Leadership { term, leader: None, leading: false };
        }
        let acknowledged = || self.alone() || self.acknowledged().is_some_and(|ago| ago < self.lease);
        let applied = || self.data.borrow_watched().last_applied.is_some_and(|id| id.leader_id.term == term);
        Leadership { term, leader, leading: leader == Some(self.node) && applied() && acknowledged() }
    }

    /// Whether it is the only voter, whom nobody has to acknowledge.
    fn alone(&self) -> bool {
        self.server.borrow_watched().membership_config.voter_ids().eq([self.node.0])
    }

    /// How long ago the last message was sent that a majority has acknowledged.
    fn acknowledged(&self) -> Option<Duration> {
        self.data.borrow_watched().last_quorum_acked.map(|at| at.elapsed())
    }

    /// Tells `publish` of every change, until the log ends.
    pub(crate) async fn follow(mut self, publish: watch::Sender<Leadership>, heartbeat: Duration) {
        loop {
            let now = self.now();
            publish.send_if_modified(|told| std::mem::replace(told, now) != now);
            if !self.changed(now, heartbeat).await {
                self.ended.store(true, Ordering::Release);
                publish.send_replace(self.now());
                return;
            }
        }
    }

    /// Waits until it is worth looking again; false when the log has ended.
    async fn changed(&mut self, now: Leadership, heartbeat: Duration) -> bool {
        // Alone it leads until something else changes, and openraft notes no acknowledgements.
        if now.leader != Some(self.node) || (now.leading && self.alone()) {
            return self.server.changed().await.is_ok();
        }
        if now.leading {
            let left = self.acknowledged().map_or(self.lease, |ago| self.lease.saturating_sub(ago));
            let wait = Runtime::sleep(left.max(Duration::from_millis(1)));
            return tokio::select! {
                biased;
                changed = self.server.changed() => changed.is_ok(),
                () = wait => true,
            };
        }
        tokio::select! {
            biased;
            changed = self.server.changed() => changed.is_ok(),
            changed = self.data.changed() => changed.is_ok(),
            () = Runtime::sleep(heartbeat) => true,
        }
    }
}
