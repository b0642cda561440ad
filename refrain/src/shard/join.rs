//! A replica that begins with a checkpoint: its manifest and chunks from this node's store or from several peers at
//! once, the guest put back while they come, and then the tail of the log.
//!
//! Guarantees: nothing is taken on trust, every chunk and the manifest are what the agreed root says; ordering never
//! waits; what was fetched by a try that failed is not fetched again. Whoever takes the seat meanwhile ends the join.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use refrain_engine::checkpoint::{CheckpointStore, Manifest, RestoreError, Root};
use refrain_engine::{Replica, ReplicaId};
use refrain_sequencer::shard::{Checkpoint, Group as LogGroup};
use refrain_service::BundleDigest;
use refrain_wire::{GroupId, NodeId, Position};
use tokio::task::JoinHandle;

use super::Inner;
use super::checkpoints::is_stored;
use super::group::SeatState;
use super::turns::Turns;

mod checking;
mod stash;
mod transfer;

pub(super) use stash::Stash;
pub(super) use transfer::Transfer;

/// Tries before the seat is given back to the leader, who may know a newer checkpoint by then.
const TRIES: u32 = 3;
/// How long after a failed try the next one begins.
const RETRY: Duration = Duration::from_millis(250);
/// How long what was fetched waits in memory for its replica to reach the end of the log: writing it all to the disk
/// would hold that up. And how often is looked.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(2);
const FOLLOW_LOOK: Duration = Duration::from_millis(50);

/// A replica that is being restored on another thread.
type Restoring = JoinHandle<Result<Replica, RestoreError>>;

impl Inner {
    /// Makes the replica of a seat that was taken with a checkpoint.
    pub(super) fn begin_join(&self, id: ReplicaId, from: Position) {
        let Some(inner) = self.me.upgrade() else { return };
        let known = self.checkpoints_up_to(id.group, from);
        if let Some(seat) = self.groups.borrow_mut().get_mut(&id.group).and_then(|group| group.seat_mut(id.seat)) {
            seat.position = from;
        }
        tokio::task::spawn_local(async move {
            let mut last = None;
            for round in 0..TRIES {
                if round > 0 {
                    tokio::time::sleep(RETRY).await;
                }
                for checkpoint in &known {
                    if !inner.still_holds(id) {
                        return;
                    }
                    match inner.join(id, *checkpoint).await {
                        Ok(()) => return,
                        Err(error) => {
                            let from = checkpoint.position;
                            tracing::warn!(replica = %id, %from, error = format!("{error:#}"), "could not join from a checkpoint");
                            last = Some(error);
                        }
                    }
                }
            }
            if inner.still_holds(id) && inner.history.has_beginning_of(id.group) {
                tracing::warn!(replica = %id, "no node gave a checkpoint: the replica replays the whole log");
                inner.install_from_beginning(id);
            } else if inner.still_holds(id) {
                let why = last.map_or_else(|| "it is not kept any more".to_owned(), |error| format!("{error:#}"));
                inner.replica_failed(id, format!("could not join from the checkpoint at position {from}: {why}"));
            }
        });
    }

    /// The checkpoint that a seat was taken with, and an earlier one that will do when nobody has the first.
    fn checkpoints_up_to(&self, id: GroupId, from: Position) -> Vec<Checkpoint> {
        self.view.with_shard(|shard| {
            let kept = shard.groups().get(&id).into_iter().flat_map(LogGroup::checkpoints);
            kept.filter(|checkpoint| checkpoint.position <= from).collect()
        })
    }

    fn still_holds(&self, id: ReplicaId) -> bool {
        let groups = self.groups.borrow();
        let seat = groups.get(&id.group).and_then(|group| group.seats.get(usize::from(id.seat.0)));
        seat.is_some_and(|seat| seat.incarnation == id.incarnation && seat.node == self.node && seat.counts())
    }

    async fn join(&self, id: ReplicaId, checkpoint: Checkpoint) -> anyhow::Result<()> {
        // It is never closed.
        let _one_of_few = self.checkpoints.at_once.acquire().await;
        let store = self.checkpoints.store.clone().context("this node keeps no checkpoints")?;
        let stash = Arc::new(Stash::new(Arc::clone(&store)));
        let begin = Instant::now();
        let restored = self.fetch_and_restore(id, checkpoint, &stash).await;
        let (manifest, replica, fetched) = match restored {
            Ok(restored) => restored,
            Err(error) => {
                // The next try finds what has come.
                if let Ok(Err(error)) = self.seams.turns.beside(move || stash.spill()).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "what has come is not kept");
                }
                return Err(error);
            }
        };
        if !self.still_holds(id) {
            return Ok(());
        }
        let took = begin.elapsed();
        tracing::info!(
            replica = %id, position = %checkpoint.position, fetched_bytes = stash.fetched_bytes(),
            millis = took.as_millis(), fetch_millis = fetched.as_millis(),
            "joined from a checkpoint: the rest of the log follows"
        );
        self.traces.restored(took);
        self.restored_replica(&replica);
        if let Some(workers) = self.workers() {
            workers.install(replica);
        }
        self.bind_replica(id);
        self.until_it_follows(id).await;
        // What others gave is kept here too, so that this node can give it on.
        let keep = move || match stash.fetched_bytes() == 0 && is_stored(&store, id.group, checkpoint) {
            true => Ok(()),
            false => stash.store(&manifest),
        };
        if let Ok(Err(error)) = self.seams.turns.beside(keep).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the checkpoint that was fetched is not kept");
        }
        Ok(())
    }

    /// Gets what a checkpoint names and puts its guest back meanwhile. Returns how long the first took, too.
    async fn fetch_and_restore(
        &self,
        id: ReplicaId,
        checkpoint: Checkpoint,
        stash: &Arc<Stash>,
    ) -> anyhow::Result<(Arc<Manifest>, Replica, Duration)> {
        let begin = Instant::now();
        let mut restoring = None;
        let transfer = Transfer::new(self, Arc::clone(stash), id.group, Root(checkpoint.root));
        let peers = self.checkpoint_peers(id.group);
        // Whoever restores waits for chunks that have not come; with one thread for all, nobody would bring them.
        let meanwhile = !self.seams.turns.are_inline();
        let begun = |manifest: &Arc<Manifest>| {
            if meanwhile {
                restoring = self.begin_restore(id, manifest, stash);
            }
        };
        let manifest = transfer.run(&peers, begun).await?;
        let fetched = begin.elapsed();
        let restoring = restoring.or_else(|| self.begin_restore(id, &manifest, stash)).with_context(|| {
            format!("it is of bundle {}, which is not prepared here", BundleDigest::new(manifest.parts().bundle))
        })?;
        let restored = restoring.await.context("the thread that restores ended")?;
        let replica = restored.context("the guest could not be put back")?;
        Ok((manifest, replica.with_blueprints(Arc::clone(&self.catalog.blueprints)), fetched))
    }

    /// Begins to put a guest back from what is there and what comes; `None` when its program is not prepared here.
    fn begin_restore(&self, id: ReplicaId, manifest: &Arc<Manifest>, stash: &Arc<Stash>) -> Option<Restoring> {
        let blueprint = self.catalog.blueprint(id.group, &manifest.parts().bundle)?;
        let (manifest, stash) = (Arc::clone(manifest), Arc::clone(stash));
        Some(self.seams.turns.beside(move || Replica::restore(id, blueprint, &manifest, stash)))
    }

    /// Waits until a replica has reached the end of the log or is gone, but not for long.
    async fn until_it_follows(&self, id: ReplicaId) {
        let deadline = tokio::time::Instant::now() + FOLLOW_PATIENCE;
        let follows = || {
            let groups = self.groups.borrow();
            let seat = groups.get(&id.group).and_then(|group| group.seats.get(usize::from(id.seat.0)));
            seat.is_none_or(|seat| seat.incarnation != id.incarnation || seat.state != SeatState::Replaying)
        };
        while !follows() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(FOLLOW_LOOK).await;
        }
    }

    /// What is known of a replica that begins in the middle.
    fn restored_replica(&self, replica: &Replica) {
        let (id, view) = (replica.id(), replica.guest_view());
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id.group) else { return };
        if let Some(seat) = group.holder_mut(id.seat, id.incarnation) {
            seat.restored(replica.position(), replica.running_digest().short(), view);
        }
        drop(groups);
        self.restored_program(replica);
    }

    /// Nodes that may have a group's checkpoints: those that hold its seats first.
    pub(super) fn checkpoint_peers(&self, id: GroupId) -> Vec<NodeId> {
        let mut peers: Vec<NodeId> = {
            let groups = self.groups.borrow();
            let seats = groups.get(&id).into_iter().flat_map(|group| &group.seats);
            seats.filter(|seat| seat.incarnation.0 > 0 && seat.node != self.node).map(|seat| seat.node).collect()
        };
        peers.extend(self.other_nodes());
        let mut seen = std::collections::BTreeSet::new();
        peers.retain(|node| seen.insert(*node));
        peers
    }
}

/// A manifest that is in the store, read on another thread.
async fn kept_manifest(turns: &Turns, store: &Arc<CheckpointStore>, group: GroupId, root: Root) -> Option<Manifest> {
    let store = Arc::clone(store);
    let read = move || store.manifest(group, root);
    match turns.beside(read).await {
        Ok(Ok(manifest)) => manifest,
        Ok(Err(error)) => {
            tracing::warn!(%group, error = ?anyhow::Error::new(error), "a kept checkpoint is of no use");
            None
        }
        Err(_) => None,
    }
}
