//! A replica that begins with a checkpoint: its manifest and chunks from this node's store or from several peers at
//! once, the guest put back, and then the tail of the log.
//!
//! Guarantees: nothing is taken on trust, every chunk and the manifest are what the agreed root says; ordering never
//! waits; what was fetched by a try that failed is not fetched again. Whoever takes the seat meanwhile ends the join.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use refrain_engine::checkpoint::{CheckpointStore, ChunkError, ChunkId, ChunkSource, Manifest, Root};
use refrain_engine::{Replica, ReplicaId};
use refrain_sequencer::shard::{Checkpoint, Group as LogGroup};
use refrain_service::BundleDigest;
use refrain_wire::{GroupId, NodeId, Position};

use super::Inner;
use super::checkpoints::is_stored;
use super::turns::Turns;

mod stash;
mod transfer;

use stash::Stash;
pub(super) use transfer::Transfer;

/// Tries before the seat is given back to the leader, who may know a newer checkpoint by then.
const TRIES: u32 = 3;
/// How long after a failed try the next one begins.
const RETRY: Duration = Duration::from_millis(250);

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
        let begin = Instant::now();
        let store = self.checkpoints.store.clone().context("this node keeps no checkpoints")?;
        let peers = self.checkpoint_peers(id.group);
        let mut transfer = Transfer::new(self, Arc::clone(&store), id.group, Root(checkpoint.root));
        let (manifest, stash) = transfer.run(&peers).await?;
        let fetched = begin.elapsed();
        let source = Arc::new(Source { stash: Arc::clone(&stash), store: Arc::clone(&store) });
        let bundle = manifest.parts().bundle;
        let blueprint = self.catalog.blueprint(id.group, &bundle);
        let blueprint = blueprint
            .with_context(|| format!("it is of bundle {}, which is not prepared here", BundleDigest::new(bundle)))?;
        let manifest = Arc::new(manifest);
        let restored = {
            let (manifest, source) = (Arc::clone(&manifest), Arc::clone(&source));
            let restore = move || Replica::restore(id, blueprint, &manifest, source);
            self.seams.turns.beside(restore).await.context("the thread that restores ended")?
        };
        let replica = restored.context("the guest could not be put back")?;
        let replica = replica.with_blueprints(Arc::clone(&self.catalog.blueprints));
        if !self.still_holds(id) {
            return Ok(());
        }
        let millis = begin.elapsed().as_millis();
        tracing::info!(
            replica = %id, position = %checkpoint.position, fetched_bytes = stash.fetched_bytes(), millis,
            fetch_millis = fetched.as_millis(), "joined from a checkpoint: the rest of the log follows"
        );
        self.restored_replica(&replica);
        if let Some(workers) = self.workers() {
            workers.install(replica);
        }
        self.bind_replica(id);
        // What others gave is kept here too, so that this node can give it on.
        self.seams.turns.beside(move || {
            if stash.fetched_bytes() == 0 && is_stored(&store, id.group, checkpoint) {
                return;
            }
            if let Err(error) = stash.store(&manifest) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the checkpoint that was fetched is not kept");
            }
        });
        Ok(())
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

/// Chunks of one checkpoint: what was fetched, and what the store had.
struct Source {
    stash: Arc<Stash>,
    store: Arc<CheckpointStore>,
}

impl ChunkSource for Source {
    fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkError> {
        match self.stash.get(id) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => self.store.chunk(id),
        }
    }

    fn chunk_into(&self, id: &ChunkId, target: &mut [u8]) -> Result<(), ChunkError> {
        match self.stash.get(id) {
            Some(bytes) if bytes.len() == target.len() => {
                target.copy_from_slice(&bytes);
                Ok(())
            }
            _ => self.store.chunk_into(id, target),
        }
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
