//! The loop's work while it runs, and its end: commands, the drain, the last audit.

use std::rc::Rc;
use std::time::Duration;

use refrain_wire::message::uplink::ToLeader;
use refrain_wire::{Control, Epoch, GroupId, NodeId, ShardControl};
use tokio::sync::{Notify, mpsc, oneshot};

use super::start::Ended;
use super::{Command, Inner};

/// How long the audit before the end may take.
const AUDIT_GRACE: Duration = Duration::from_secs(2);
/// How long another member may take to lead, and the log to take the end of the epoch.
const HAND_OVER_GRACE: Duration = Duration::from_secs(3);

impl Inner {
    /// Takes commands until a drain, until the log fails, or until everything is to begin anew.
    pub(super) async fn go_on(self: Rc<Self>, inbox: &mut mpsc::Receiver<Command>) -> Ended {
        let mut ended = self.ended.subscribe();
        let drained = Rc::new(Notify::new());
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                () = drained.notified() => return Ended::Over(self.failure.take()),
                // What it gives back would keep others from saying that they have ended.
                _ = ended.wait_for(|ended| *ended), if !draining => {
                    if self.again.get() {
                        self.close_log().await;
                        return Ended::Again(self.listens());
                    }
                    return Ended::Over(self.failure.take());
                }
                command = inbox.recv() => match command {
                    Some(Command::Drain { deadline, done }) if !draining => {
                        draining = true;
                        let (inner, drained) = (Rc::clone(&self), Rc::clone(&drained));
                        tokio::task::spawn_local(async move {
                            inner.drain(deadline).await;
                            let _ = done.send(());
                            drained.notify_one();
                        });
                    }
                    Some(command) => self.command(command),
                    None => return Ended::Over(None),
                },
            }
        }
    }

    /// Audits every group that runs, and waits until the answers are agreed on. One that too few replicas follow, as
    /// others still read the log, answers nobody soon.
    async fn audit_all(&self) {
        let running: Vec<GroupId> = {
            let groups = self.groups.borrow();
            groups.values().filter(|group| !group.halted && group.follows()).map(|group| group.id).collect()
        };
        let audits: Vec<_> = running
            .into_iter()
            .map(|id| {
                let (reply, answer) = oneshot::channel();
                self.append(id, Control::Audit, reply);
                (id, answer)
            })
            .collect();
        for (id, answer) in audits {
            let Ok(Ok(appended)) = answer.await else { continue };
            loop {
                let voted = self.voted.notified();
                if self.front().released(id).0 >= appended.position {
                    break;
                }
                voted.await;
            }
        }
    }

    /// Hands the log over to another member, lets connections end, audits once more where this node is alone, flushes
    /// and closes the log.
    async fn drain(&self, deadline: Duration) {
        self.draining.set(true);
        self.hand_over().await;
        let drained = self.front().drain(deadline).await;
        if drained.reset > 0 {
            tracing::warn!(connections = drained.reset, "connections were reset at the end of the drain");
        }
        if self.member_nodes().is_empty() {
            if tokio::time::timeout(AUDIT_GRACE, self.audit_all()).await.is_err() {
                tracing::warn!("the audit before the end was not over in {AUDIT_GRACE:?}");
            }
        } else {
            self.end_own_epoch().await;
        }
        if let Some(member) = self.view.member() {
            member.stop();
            // The sender is this very object's, so the wait ends when the sequencer does.
            let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
        }
        self.close_log().await;
    }

    /// If this node leads, has another member lead: clients of other proxies notice nothing of this node's end.
    pub(super) async fn hand_over(&self) {
        let Some(member) = self.view.member() else { return };
        for node in self.heirs() {
            if member.leading().is_none() {
                return;
            }
            match tokio::time::timeout(HAND_OVER_GRACE, member.log().transfer_leader(node)).await {
                Ok(Ok(())) => return tracing::info!(%node, "another member leads the log now"),
                Ok(Err(error)) => tracing::warn!(%node, error = ?anyhow::Error::new(error), "it cannot lead the log"),
                Err(_) => tracing::warn!(%node, "it did not take over in {HAND_OVER_GRACE:?}"),
            }
        }
    }

    /// The other members, those first that have most of the log: one that is away has not.
    fn heirs(&self) -> Vec<NodeId> {
        let Some(member) = self.view.member() else { return Vec::new() };
        let mut others: Vec<_> = member.log().members();
        others.retain(|other| other.node != self.node && other.voter);
        others.sort_by_key(|other| std::cmp::Reverse(other.matched));
        others.into_iter().map(|other| other.node).collect()
    }

    /// Ends the proxy's epoch: its flows are over, and nobody has to wait for its lease.
    async fn end_own_epoch(&self) {
        let epoch = self.epoch.replace(Epoch(0));
        if epoch == Epoch(0) || !self.link_is_up() {
            return;
        }
        let control = Control::Shard(ShardControl::EndEpoch(epoch));
        self.tell_leader(ToLeader::Control { request: 0, group: GroupId::SHARD, control });
        let mut applied = self.applied.subscribe();
        let ended = async {
            while self.view.with_shard(|shard| shard.epochs().contains_key(&epoch)) {
                if applied.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(HAND_OVER_GRACE, ended).await.is_err() {
            tracing::debug!(%epoch, "the end of the epoch was not seen; its lease will end it");
        }
    }
}
