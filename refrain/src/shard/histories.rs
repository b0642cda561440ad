//! Groups whose guests cannot be saved in checkpoints: their histories stand for what is cut from the log.
//!
//! A member writes what it cuts into the history of each such group first, and one that got the state of others in
//! place of entries gets the turns from them. What a history comes to is in the shard's state, so every node knows
//! alike when it is full: the proxy then takes no new work for the group, the leader gives it no ticks, and other
//! groups go on.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use refrain_sequencer::shard::{Applied, Group as LogGroup, ShardState};
use refrain_wire::{GroupId, NodeId, Position};
use tokio::task::JoinError;

use super::Inner;
use super::checkpoints::{lives_on_history, wait_longer};
use super::group::Group;
use crate::history::HistoryError;

/// How long after a failed try turns are asked for again; twice as long after each further one.
const RETRY: Duration = Duration::from_secs(2);
/// The share of its limit at which an operator is told that a history becomes full, in percent.
const WARN_PERCENT: u128 = 80;

/// How full a history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Level {
    #[default]
    Low,
    High,
    Full,
}

impl Level {
    fn of(bytes: u64, max_bytes: u64) -> Self {
        if bytes >= max_bytes {
            Self::Full
        } else if u128::from(bytes) * 100 >= u128::from(max_bytes) * WARN_PERCENT {
            Self::High
        } else {
            Self::Low
        }
    }
}

/// A group's history as it counts against its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Used {
    pub(super) bytes: u64,
    pub(super) max_bytes: u64,
}

impl Group {
    /// The limit of its history, if it lives on that alone.
    pub(super) fn history_limit(&self) -> Option<u64> {
        (!self.can_be_saved()).then_some(self.service.history_bytes)
    }
}

impl Inner {
    /// What is used of the history of a group that lives on it alone.
    pub(super) fn history_of(&self, group: &Group) -> Option<Used> {
        let max_bytes = group.history_limit()?;
        let bytes = self.view.with_shard(|shard| shard.groups().get(&group.id)?.history).map_or(0, |known| known.bytes);
        Some(Used { bytes, max_bytes })
    }

    /// The groups of this node that live on their histories.
    pub(super) fn replay_only_groups(&self) -> BTreeSet<GroupId> {
        let groups = self.groups.borrow();
        groups.values().filter(|group| !group.can_be_saved()).map(|group| group.id).collect()
    }

    /// After an entry: histories may have become full, and a state may be due at which the log can be cut.
    pub(super) fn follow_histories(&self, applied: &Applied) {
        let concerned: Vec<GroupId> = {
            let groups = self.groups.borrow();
            let lives = |id: &GroupId| groups.get(id).is_some_and(|group| !group.can_be_saved());
            if applied.concerns_all() {
                groups.keys().copied().filter(lives).collect()
            } else {
                applied.batches.iter().map(|batch| batch.group).filter(lives).collect()
            }
        };
        for id in &concerned {
            self.look_at_history(*id);
        }
        let bytes: usize = (applied.batches.iter().filter(|batch| concerned.contains(&batch.group)))
            .map(|batch| batch.records.len())
            .sum();
        self.checkpoints.note_history(concerned.len() as u64, bytes as u64);
    }

    /// Refuses new work where a history is full, takes it where it is no longer, and tells an operator.
    pub(super) fn look_at_history(&self, id: GroupId) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        let used = self.history_of(group);
        let level = used.map_or(Level::Low, |used| Level::of(used.bytes, used.max_bytes));
        let before = std::mem::replace(&mut group.history_level, level);
        if before == level {
            return;
        }
        let (service, used) = (&group.service.name, used.unwrap_or_default());
        let (bytes, max_bytes) = (used.bytes, used.max_bytes);
        match level {
            Level::Full => tracing::error!(
                service,
                bytes,
                max_bytes,
                "the history is full: connections and requests are refused; upgrade to a module that can be saved in \
                 checkpoints (rctl service build), or to a higher limits.history"
            ),
            Level::High => tracing::warn!(
                service,
                bytes,
                max_bytes,
                "the history is nearly full: at the limit requests are refused"
            ),
            Level::Low => tracing::info!(service, "the history has room again"),
        }
        drop(groups);
        if (before == Level::Full) != (level == Level::Full) {
            self.front().fill(id, level == Level::Full);
        }
    }

    /// A member that lacks the history of a group gets it from others.
    pub(super) fn complete_history(&self, id: GroupId) {
        let (Some(inner), Some(kept)) = (self.me.upgrade(), self.history.kept()) else { return };
        let lacks = move |inner: &Inner| {
            let Some((cut, _)) = kept.wanted(id).filter(|_| !kept.is_whole(id)) else { return false };
            inner.view.with_shard(|shard| shard.groups().get(&id).is_some_and(|group| lives_on_history(group, cut)))
        };
        if !lacks(self) || !self.checkpoints.completing.borrow_mut().insert(id) {
            return;
        }
        tokio::task::spawn_local(async move {
            let mut wait = RETRY;
            if inner.groups.borrow().get(&id).is_some_and(Group::can_be_saved) {
                // Mostly it has a checkpoint, which the log has not said yet.
                tokio::time::sleep(RETRY).await;
            }
            while lacks(&inner) {
                let completed = inner.copy_history(id).await;
                let service = inner.service_name(id);
                match completed {
                    Ok(Ok(())) => tracing::info!(service, "the history was copied from other members"),
                    Ok(Err(error)) => {
                        let error = anyhow::Error::new(error);
                        let again_in = wait.as_secs();
                        tracing::warn!(service, again_in, error = format!("{error:#}"), "no copy of a history yet");
                        tokio::time::sleep(wait).await;
                        wait = wait_longer(wait);
                    }
                    Err(_) => break,
                }
            }
            inner.checkpoints.completing.borrow_mut().remove(&id);
        });
    }

    /// One try; none when the node is ending.
    async fn copy_history(&self, id: GroupId) -> Result<Result<(), HistoryError>, JoinError> {
        // It is never closed.
        let _one = self.checkpoints.copying.acquire().await;
        let history = Arc::clone(&self.history);
        self.seams.turns.beside(move || history.complete(id)).await
    }

    /// Has everything that is to be cut written into the histories of groups that live on them. Returns whether it is.
    pub(super) async fn keep_histories(&self, shard: &Arc<ShardState>, groups: &[GroupId]) -> bool {
        let (history, shard, kept) = (Arc::clone(&self.history), Arc::clone(shard), groups.to_vec());
        match self.seams.turns.beside(move || history.keep(&shard, &kept)).await {
            Ok(Ok(())) => true,
            Ok(Err((group, error))) => {
                let (service, error) = (self.service_name(group), anyhow::Error::new(error));
                tracing::warn!(service, error = format!("{error:#}"), "the log is not cut: a history is not here");
                self.complete_history(group);
                false
            }
            Err(_) => false,
        }
    }

    /// The first service whose history another node does not have, of those that the log was cut behind.
    pub(super) async fn first_history_that_is_missing(&self, node: NodeId, cut: Option<Position>) -> Option<String> {
        let wanted: Vec<(GroupId, String, Position)> = self.view.with_shard(|shard| {
            let lives = |group: &LogGroup| cut.is_some_and(|cut| lives_on_history(group, cut));
            let all = shard.groups().iter().filter(|(_, group)| lives(group));
            all.filter_map(|(id, group)| Some((*id, group.service.clone(), group.history?.after))).collect()
        });
        for (group, service, after) in wanted {
            // Another node answers only with what it has itself, and verified.
            if self.fetch_turns(node, group, after, 1).await.is_err() {
                return Some(service);
            }
        }
        None
    }
}

/// Copies histories that turn out to be damaged while they are read.
pub(super) async fn run(inner: Rc<Inner>) {
    let Some(kept) = inner.history.kept() else { return };
    loop {
        kept.until_damaged().await;
        let all: Vec<GroupId> = inner.groups.borrow().keys().copied().collect();
        all.into_iter().for_each(|id| inner.complete_history(id));
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoints::Checkpoints;
    use super::*;

    #[test]
    fn waits_between_tries_grow_up_to_five_minutes() {
        let waits = std::iter::successors(Some(RETRY), |wait| Some(wait_longer(*wait)));
        let seconds: Vec<u64> = waits.map(|wait| wait.as_secs()).take(10).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn copies_of_histories_leave_all_places_to_joins() {
        let checkpoints = Checkpoints::new(None);
        let free = checkpoints.at_once.available_permits();
        let copy = checkpoints.copying.try_acquire().unwrap();
        assert!(checkpoints.copying.try_acquire().is_err(), "one at a time");
        assert_eq!(checkpoints.at_once.available_permits(), free);
        drop(copy);
        assert!(checkpoints.copying.try_acquire().is_ok());
    }

    #[test]
    fn a_history_is_high_from_80_percent_on_and_full_at_its_limit() {
        let level = |bytes| Level::of(bytes, 1000);
        assert_eq!([0, 799, 800, 999, 1000, 2000].map(level), {
            use Level::{Full, High, Low};
            [Low, Low, High, High, Full, Full]
        });
    }
}
