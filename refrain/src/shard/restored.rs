//! The log goes on from a state in place of entries: the other members have given up what comes next here.
//!
//! A node that knows nothing yet begins with the state. One that does, a member or not, was away for so long that
//! neither its flows nor its replicas follow from it: the loop begins anew, as after a restart of the process.

use refrain_engine::ReplicaId;
use refrain_wire::{GroupId, Position};

use super::Inner;
use super::start::open_epochs;

impl Inner {
    /// Whether nothing was committed here and nothing adopted.
    pub(super) fn is_fresh(&self) -> bool {
        self.groups.borrow().is_empty()
            && self.started_at.get() == Position(0)
            && *self.applied.borrow() == Position(0)
            && self.all_adopted()
    }

    /// The shard's state is another one, at a later position.
    pub(super) fn restored(&self, position: Position) {
        if !self.is_fresh() {
            tracing::warn!(position = position.0, "this node was too far behind: the others gave it their state");
            self.again.set(true);
            self.stop_replicas();
            self.ended.send_replace(true);
            return;
        }
        tracing::info!(position = position.0, "the log begins with the state of the other members");
        self.started_at.set(position);
        let (open, groups): (_, Vec<GroupId>) = self.view.with_shard(|shard| {
            self.history.restore(position, shard.groups());
            if let Some(kept) = self.history.kept() {
                kept.restored(shard);
            }
            (open_epochs(shard), shard.groups().keys().copied().collect())
        });
        self.history.set_epochs(&open);
        self.tell_places();
        self.tell_deployed();
        self.watch_proxies();
        groups.into_iter().for_each(|group| self.created(group));
        self.applied.send_replace(position);
        self.office_due.notify_one();
    }

    /// Nothing that replicas do from now on follows from what they did before: entries lie between that they never got.
    /// What they report is not looked at any more; see `take_reports`.
    fn stop_replicas(&self) {
        let leaving: Vec<ReplicaId> = self.leaving.take().into_keys().collect();
        for id in self.local_replicas().into_iter().chain(leaving) {
            self.remove_replica(id);
        }
    }
}
