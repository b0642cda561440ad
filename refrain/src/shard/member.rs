//! This node's member of the log: its beginning, its work, and its end.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;
use refrain_sequencer::log::OrderedLog as _;
use refrain_wire::ShardId;

use super::Inner;

/// Begins the log with its other first members, if it has not begun.
pub(super) async fn begin(inner: Rc<Inner>) {
    let Some(member) = inner.view.member() else { return };
    if let Err(error) = member.log().begin().await {
        *inner.failure.borrow_mut() = Some(format!("{:#}", anyhow::Error::new(error)));
        inner.ended.send_replace(true);
    }
}

/// From the logs of which shards this node's members were removed. Clones share it.
#[derive(Clone, Default)]
pub struct Removals(Arc<Mutex<BTreeSet<ShardId>>>);

impl Removals {
    pub(super) fn has(&self, shard: ShardId) -> bool {
        self.0.lock().contains(&shard)
    }

    /// Notes one more; how many there are.
    fn add(&self, shard: ShardId) -> usize {
        let mut shards = self.0.lock();
        shards.insert(shard);
        shards.len()
    }
}

/// A member that was removed applies nothing any more: the loop ends, as an operator decides what the node is now. While
/// the node is a member of another shard's log it goes on there, and is not ready.
pub(super) async fn until_removed(inner: Rc<Inner>) {
    let Some(member) = inner.view.member() else { return };
    let removed = member.log().until_removed().await;
    let shard = inner.shard();
    if inner.removals.add(shard) < usize::from(inner.config.cluster.shards.count) {
        return tracing::error!(%shard, "{removed}; it goes on as a member of other shards' logs: remove it there too");
    }
    let words = format!(
        "{removed}. Start it with `roles` without `sequencer` to have it go on as another node, or with a new number \
         and an empty data folder to have it join anew"
    );
    *inner.failure.borrow_mut() = Some(words);
    inner.ended.send_replace(true);
}

/// Runs the sequencer; when it ends by itself, the whole loop ends with it.
pub(super) async fn drive(inner: Rc<Inner>) {
    let Some(member) = inner.view.member() else { return };
    if let Err(error) = member.run().await {
        let words = format!("{:#}", anyhow::Error::new(error));
        *inner.failure.borrow_mut() = Some(words);
    }
    inner.ended.send_replace(true);
}

impl Inner {
    /// Makes everything durable and ends the log.
    pub(super) async fn close_log(&self) {
        let Some(member) = self.view.member() else { return };
        if let Err(error) = member.log().close().await {
            tracing::error!(%error, "the log was not closed cleanly");
        }
    }
}
