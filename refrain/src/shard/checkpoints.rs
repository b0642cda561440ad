//! Checkpoints of this node: which ones its store keeps, and how the log is cut behind those that are agreed on.
//!
//! A log is cut where a state of the shard stands for what is gone. Members keep such states at positions at which a
//! checkpoint was asked for: none of its captures lies before. The leader knows what replicas and proxies still need
//! and says from time to time up to where entries may go; each member cuts its own log at its newest state up to there,
//! and only when it has on its own disk, of every group, a checkpoint that stands for what it gives up, or else the
//! group's history. One that runs no replica of a group gets the checkpoint from those that do: whatever is lost with an
//! engine, a majority of members still has everything that was acknowledged.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use refrain_engine::checkpoint::manifest::MAX_MANIFEST_BYTES;
use refrain_engine::checkpoint::{CheckpointStore, Root};
use refrain_sequencer::shard::{Applied, Checkpoint, Group as LogGroup, ShardState};
use refrain_wire::message::fetch::Get;
use refrain_wire::message::uplink::FromLeader;
use refrain_wire::{Control, GroupId, NodeId, Position};
use tokio::sync::Semaphore;

use super::Inner;
use super::join::{Stash, Transfer};

mod standing;

pub(super) use standing::lives_on_history;
use standing::{Standing, standing};

/// States that are kept. The oldest and the newest stay, and those in between as evenly as may be.
const MAX_STATES: usize = 16;
/// Transfers and restorations that go on at once.
const AT_ONCE: usize = 4;
/// How long after a checkpoint was agreed on a member asks others for it.
const MIRROR_AFTER: Duration = Duration::from_secs(2);
/// The longest wait for another try to copy a checkpoint or a history.
const MAX_RETRY: Duration = Duration::from_secs(300);
/// How long a new member may take to copy the checkpoints, and how often it is asked.
const COPY_PATIENCE: Duration = Duration::from_secs(600);
const COPY_LOOK: Duration = Duration::from_millis(100);

/// What this node has of checkpoints.
pub(super) struct Checkpoints {
    /// None when this node is neither an engine nor a member of the log.
    pub(super) store: Option<Arc<CheckpointStore>>,
    states: RefCell<States>,
    cutting: Cell<bool>,
    /// How far other members were when the log was to be cut last, on the leader.
    followers: RefCell<BTreeMap<NodeId, Position>>,
    /// Groups whose checkpoint is being fetched.
    mirrored: RefCell<BTreeSet<GroupId>>,
    /// Groups whose history is being fetched.
    pub(super) completing: RefCell<BTreeSet<GroupId>>,
    /// Batches and bytes that histories took since a state was kept.
    unkept: Cell<(u64, u64)>,
    /// Transfers and restorations that may go on at once: each may hold a guest's whole state in memory.
    pub(super) at_once: Semaphore,
    /// The same for histories, which are copied one after another, for as long as that takes, and hold up nothing else.
    pub(super) copying: Semaphore,
}

impl Checkpoints {
    pub(super) fn new(store: Option<Arc<CheckpointStore>>) -> Self {
        Self {
            store,
            states: RefCell::default(),
            cutting: Cell::new(false),
            followers: RefCell::default(),
            mirrored: RefCell::default(),
            completing: RefCell::default(),
            unkept: Cell::new((0, 0)),
            at_once: Semaphore::new(AT_ONCE),
            copying: Semaphore::new(1),
        }
    }

    /// Histories took batches, for which nobody asks for checkpoints.
    pub(super) fn note_history(&self, batches: u64, bytes: u64) {
        let before = self.unkept.get();
        self.unkept.set((before.0 + batches, before.1 + bytes));
    }
}

/// Encoded states of the shard, in the order of their positions. Pure.
#[derive(Default)]
struct States(Vec<(Position, Bytes)>);

impl States {
    fn keep(&mut self, position: Position, state: Bytes) {
        self.0.push((position, state));
        if self.0.len() > MAX_STATES {
            // The one whose neighbours are closest together is missed least.
            let gap = |at: &usize| self.0[at + 1].0.0 - self.0[at - 1].0.0;
            let least = (1..self.0.len() - 1).min_by_key(gap).expect("there are more than two");
            self.0.remove(least);
        }
    }

    /// The newest one up to a position.
    fn up_to(&self, position: Position) -> Option<(Position, Bytes)> {
        let count = self.0.partition_point(|(at, _)| *at <= position);
        self.0[..count].last().cloned()
    }

    /// Those up to a position are of no use any more.
    fn forget(&mut self, position: Position) {
        self.0.retain(|(at, _)| *at > position);
    }
}

/// How long to wait after one more copy that failed.
pub(super) fn wait_longer(wait: Duration) -> Duration {
    (wait * 2).min(MAX_RETRY)
}

/// The checkpoints of a group that seats may be taken with.
fn roots(group: &LogGroup) -> Vec<Root> {
    group.checkpoints().map(|checkpoint| Root(checkpoint.root)).collect()
}

/// Whether a checkpoint is in the store, with every chunk. Looks at many files.
pub(super) fn is_stored(store: &CheckpointStore, id: GroupId, checkpoint: Checkpoint) -> bool {
    store.holds(id, Root(checkpoint.root)).unwrap_or_else(|error| {
        tracing::warn!(group = %id, error = ?anyhow::Error::new(error), "a kept checkpoint is of no use");
        false
    })
}

impl Inner {
    /// The log says which checkpoints of a group were agreed on: the store keeps them, and a member gets the newest.
    pub(super) fn agreed_on(&self, id: GroupId) {
        if let Some(store) = &self.checkpoints.store
            && let Some(roots) = self.view.with_shard(|shard| shard.groups().get(&id).map(roots))
        {
            store.agreed(id, &roots);
        }
        self.mirror(id);
        self.complete_history(id);
    }

    /// A member sees to it that it has a group's newest agreed checkpoint.
    fn mirror(&self, id: GroupId) {
        let (Some(inner), Some(store)) = (self.me.upgrade(), self.checkpoints.store.clone()) else { return };
        if self.view.member().is_none() || !self.checkpoints.mirrored.borrow_mut().insert(id) {
            return;
        }
        // A replica of this node stores it by itself, mostly.
        let runs = self.groups.borrow().get(&id).is_some_and(|group| group.local_replicas().next().is_some());
        let mut wait = if runs { MIRROR_AFTER } else { Duration::ZERO };
        tokio::task::spawn_local(async move {
            let mut next_wait = MIRROR_AFTER;
            loop {
                tokio::time::sleep(wait).await;
                wait = next_wait;
                let newest = inner.view.with_shard(|shard| shard.groups().get(&id)?.checkpoint);
                let Some(newest) = newest else { break };
                let found = Arc::clone(&store);
                let there = move || is_stored(&found, id, newest);
                if inner.seams.turns.beside(there).await.unwrap_or(false) {
                    break;
                }
                // It is never closed.
                let _one_of_few = inner.checkpoints.at_once.acquire().await;
                let stash = Arc::new(Stash::new(Arc::clone(&store)));
                let transfer = Transfer::new(&inner, Arc::clone(&stash), id, Root(newest.root));
                match transfer.run(&inner.checkpoint_peers(id), |_| {}).await {
                    Ok(manifest) => {
                        let stored = inner.seams.turns.beside(move || stash.store(&manifest)).await;
                        match stored {
                            // There may be a newer one by now.
                            Ok(Ok(())) => (wait, next_wait) = (Duration::ZERO, MIRROR_AFTER),
                            Ok(Err(error)) => {
                                // A full disk stays so for a while, and each try moves the whole checkpoint.
                                next_wait = wait_longer(next_wait);
                                let error = &error as &dyn std::error::Error;
                                tracing::warn!(group = %id, error, "a checkpoint of another node cannot be kept");
                            }
                            Err(_) => {}
                        }
                    }
                    Err(error) => tracing::warn!(group = %id, %error, "no copy of a checkpoint yet"),
                }
            }
            inner.checkpoints.mirrored.borrow_mut().remove(&id);
        });
    }

    /// Waits until another node has, of each group, a checkpoint that stands for what the log has lost, or its history.
    ///
    /// # Errors
    /// When it does not get them.
    pub(super) async fn until_it_holds_checkpoints(&self, node: NodeId) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + COPY_PATIENCE;
        loop {
            let cut = self.view.member().and_then(|member| member.log().snapshot()).map(|(position, _)| position);
            let wanted: Vec<(String, Vec<Root>)> = self.view.with_shard(|shard| {
                let concerned = shard.groups().values().filter(|group| cut.is_some_and(|cut| group.created <= cut));
                let stands = |checkpoint: &Checkpoint| cut.is_none_or(|cut| checkpoint.position >= cut);
                let roots = |group: &LogGroup| {
                    let roots = group.checkpoints().filter(stands).map(|kept| Root(kept.root));
                    roots.collect::<Vec<_>>()
                };
                let all = concerned.map(|group| (group.service.clone(), roots(group)));
                all.filter(|(_, roots)| !roots.is_empty()).collect()
            });
            let missing = match self.first_that_is_missing(node, &wanted).await {
                None => self.first_history_that_is_missing(node, cut).await,
                missing => missing,
            };
            let Some(service) = missing else { return Ok(()) };
            if tokio::time::Instant::now() >= deadline {
                return Err(format!(
                    "it has no copy of a checkpoint or the history of {service} after {COPY_PATIENCE:?}"
                ));
            }
            tokio::time::sleep(COPY_LOOK).await;
        }
    }

    async fn first_that_is_missing(&self, node: NodeId, wanted: &[(String, Vec<Root>)]) -> Option<String> {
        for (service, roots) in wanted {
            let mut has = false;
            for root in roots {
                let found = self.fetch_whole(node, Get::Manifest(root.0), MAX_MANIFEST_BYTES).await;
                has |= matches!(found, Ok(Some(_)));
            }
            if !has {
                return Some(service.clone());
            }
        }
        None
    }

    /// A member keeps the state after an entry that asks for a checkpoint, and as often for histories.
    pub(super) fn keep_state(&self, applied: &Applied) {
        let asks = applied.controls.iter().any(|(_, control)| matches!(control, Control::Checkpoint));
        let (batches, bytes) = self.checkpoints.unkept.get();
        let due = batches >= self.config.checkpoint_batches || bytes >= self.config.checkpoint_bytes;
        if (asks || due) && self.view.member().is_some() {
            self.checkpoints.unkept.set((0, 0));
            let state = self.view.with_shard(|shard| shard.encode());
            self.checkpoints.states.borrow_mut().keep(applied.position, state);
        }
    }

    /// Entries up to a position may be given up.
    pub(super) fn cut_log(&self, position: Position) {
        if self.checkpoints.cutting.get() {
            return;
        }
        let Some(inner) = self.me.upgrade() else { return };
        if self.view.member().is_none() {
            self.history.forget(position.min(self.view.position()));
            return;
        }
        let Some((at, state)) = self.checkpoints.states.borrow().up_to(position) else { return };
        self.checkpoints.cutting.set(true);
        tokio::task::spawn_local(async move {
            inner.cut_at(at, state).await;
            inner.checkpoints.cutting.set(false);
        });
    }

    async fn cut_at(&self, at: Position, state: Bytes) {
        let Some(member) = self.view.member() else { return };
        let shard = match ShardState::decode(&state) {
            Ok(shard) => Arc::new(shard),
            Err(error) => return tracing::error!(position = at.0, %error, "the log is not cut: a state is damaged"),
        };
        let by_history = match self.stand_for(&shard).await {
            None => return,
            Some(Standing::Lacking(group)) => {
                tracing::debug!(position = at.0, %group, "the log is not cut: no checkpoint of a group is here yet");
                return self.mirror(group);
            }
            Some(Standing::All { by_history }) => by_history,
        };
        if !self.keep_histories(&shard, &by_history).await {
            return;
        }
        match member.log().cut(at, state).await {
            Ok(()) => {
                self.checkpoints.states.borrow_mut().forget(at);
                self.history.forget(at);
                if let Some(kept) = self.history.kept() {
                    self.seams.turns.beside(move || kept.cut(&shard, &by_history)).await.ok();
                }
                tracing::info!(position = at.0, "the log was cut: checkpoints and histories stand for what is gone");
            }
            Err(error) => tracing::warn!(position = at.0, error = ?anyhow::Error::new(error), "the log was not cut"),
        }
    }

    /// What stands here for the entries of each group up to the position of a state; none when the node is ending.
    async fn stand_for(&self, shard: &Arc<ShardState>) -> Option<Standing> {
        let at = shard.position();
        let store = self.checkpoints.store.clone()?;
        let replay_only = self.replay_only_groups();
        let needed: Vec<(GroupId, Vec<Checkpoint>, bool)> = self.view.with_shard(|shard| {
            let groups = shard.groups().iter().filter(|(_, group)| group.created <= at);
            groups.map(|(id, group)| (*id, standing(group, at), lives_on_history(group, at))).collect()
        });
        let shard = Arc::clone(shard);
        let find = move || {
            let mut by_history = Vec::new();
            for (id, any, lives) in needed {
                if any.iter().any(|checkpoint| is_stored(&store, id, *checkpoint)) {
                    continue;
                }
                // A history goes on from the newest checkpoint before, if there is one.
                let from = shard.groups().get(&id).and_then(|group| group.checkpoint);
                if !lives || !replay_only.contains(&id) || !from.is_none_or(|from| is_stored(&store, id, from)) {
                    return Standing::Lacking(id);
                }
                by_history.push(id);
            }
            Standing::All { by_history }
        };
        self.seams.turns.beside(find).await.ok()
    }

    /// The leader says up to where entries may go.
    fn order_cut(&self) {
        let now = self.monotonic();
        let position = match self.leader.borrow_mut().as_mut() {
            Some(leader) => self.view.with_shard(|shard| leader.office.cut_position(shard, now)),
            None => return,
        };
        self.office_due.notify_one();
        let needed = self.needed_by_followers();
        let position = needed.map_or(position, |needed| needed.min(position));
        self.say_to_all(&FromLeader::Cut { position });
    }

    /// The least position that another member has reached which has moved since this was asked last. One that copies the
    /// log goes on with entries, and does not begin anew with a state; one that stands still is not waited for.
    fn needed_by_followers(&self) -> Option<Position> {
        let members = self.view.member()?.log().members();
        let mut seen = self.checkpoints.followers.borrow_mut();
        let before = std::mem::take(&mut *seen);
        for member in members.into_iter().filter(|member| member.node != self.node) {
            seen.insert(member.node, Position(member.matched.unwrap_or_default()));
        }
        let moved = seen.iter().filter(|(node, at)| before.get(node).is_none_or(|before| before < at));
        moved.map(|(_, at)| *at).min()
    }
}

/// Has the log cut from time to time, as long as this node leads.
pub(super) async fn run(inner: Rc<Inner>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        inner.order_cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_thinned_evenly_and_found_by_position() {
        let mut states = States::default();
        (1..=100).for_each(|position| states.keep(Position(position), Bytes::new()));
        let positions: Vec<u64> = states.0.iter().map(|(position, _)| position.0).collect();
        assert_eq!((positions.len(), positions[0], positions[15]), (MAX_STATES, 1, 100));
        assert!(positions.is_sorted());
        let middle = positions[7];
        let found = |states: &States, at: u64| states.up_to(Position(at)).map(|(position, _)| position.0);
        assert_eq!(found(&states, middle), Some(middle));
        states.forget(Position(middle));
        assert_eq!(states.0[0].0.0, positions[8], "older ones are gone");
        assert_eq!(found(&states, middle), None);
        assert_eq!(found(&states, positions[9] - 1), Some(positions[8]));
    }
}
