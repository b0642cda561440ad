//! Which stateless services the log of the first shard says that there are: told to the front end, which follows it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use refrain_api::Appended;
use refrain_sequencer::shard::Deployment;
use refrain_wire::{Control, GroupId, Position, ShardControl, ShardId};
use tokio::sync::{oneshot, watch};

use super::{Inner, Reply};

/// What the log says at a position, by `namespace/name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The last entry that was applied when it was looked at; 0 before that.
    pub at: Position,
    /// The last change of them that this process knows of; 0 when it knows of none.
    pub changed: Position,
    /// Stateless services and their versions.
    pub services: Arc<BTreeMap<String, Deployment>>,
}

/// What the log said last. Handles are cheap to clone and see the same.
#[derive(Debug, Clone, Default)]
pub struct Deployed(Arc<watch::Sender<Said>>);

impl Deployed {
    /// Whoever follows it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Said> {
        self.0.subscribe()
    }

    /// What it said last.
    #[must_use]
    pub fn now(&self) -> Said {
        self.0.borrow().clone()
    }
}

impl Inner {
    /// The first shard's state has changed, or was read.
    pub(super) fn tell_deployed(&self) {
        self.tell_deployed_changed(Position(0));
    }

    /// The same, after a change that is known to stand at a position.
    fn tell_deployed_changed(&self, changed: Position) {
        if self.shard() == ShardId::FIRST {
            self.deployed.0.send_if_modified(|said| {
                self.view.with_shard(|shard| {
                    let is_new = said.at < shard.position();
                    said.at = shard.position();
                    if *said.services != *shard.deployed() {
                        said.services = Arc::new(shard.deployed().clone());
                    }
                    let newest = shard.deployed().values().map(|deployment| deployment.at).max();
                    said.changed = said.changed.max(changed).max(newest.unwrap_or_default());
                    is_new
                })
            });
        }
    }

    /// These changes are in the log.
    pub(super) fn follow_deployed(&self, changes: &[ShardControl], at: Position) {
        if changes.is_empty() {
            return;
        }
        self.tell_deployed_changed(at);
        for change in changes {
            self.answer(GroupId::SHARD, &Control::Shard(change.clone()), at);
        }
    }

    /// Has a change ordered.
    pub(super) fn deploy(&self, change: ShardControl, reply: Reply<Appended>) {
        self.append(GroupId::SHARD, Control::Shard(change), reply);
    }

    /// Sees to it that a bundle is in the data folder, and says why not, in words.
    pub(super) fn obtain(&self, digest: [u8; 32], reply: oneshot::Sender<Result<(), String>>) {
        let Some(inner) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let inner: Rc<Self> = inner;
            let obtained = inner.obtain_bundle(digest).await;
            // Whoever asked may be gone.
            let _ = reply.send(obtained.map_err(|error| format!("{error:#}")));
        });
    }
}
