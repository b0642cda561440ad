//! Leases of proxies: an epoch whose proxy is silent for too long is ended by a record.
//!
//! Time is the leader's monotonic clock. Once the end was asked for, the epoch is not renewed any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use refrain_wire::{Epoch, GroupId, Position};

use super::Queue;
use crate::shard::{MAX_GROUPS, ShardState};

/// Whether all living proxies have released a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Released {
    /// They have: nobody needs votes for it.
    Yes,
    /// One has not.
    No,
    /// One has not told this leader yet.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Leases {
    lease: Duration,
    ask_again: Duration,
    ends: Queue<Epoch, Duration>,
    /// Epochs whose end was asked for.
    ending: BTreeSet<Epoch>,
    /// What the proxies have released, for those that told this leader.
    released: BTreeMap<Epoch, BTreeMap<GroupId, Position>>,
}

impl Leases {
    pub(super) fn new(lease: Duration, ask_again: Duration) -> Self {
        let (ends, ending, released) = (Queue::default(), BTreeSet::new(), BTreeMap::new());
        Self { lease, ask_again, ends, ending, released }
    }

    /// The epoch has a full lease, unless it is about to be ended.
    pub(super) fn open(&mut self, epoch: Epoch, now: Duration) {
        if !self.ending.contains(&epoch) {
            self.ends.set(epoch, Some(now + self.lease));
        }
    }

    /// The epoch is over.
    pub(super) fn end(&mut self, epoch: Epoch) {
        self.ends.set(epoch, None);
        self.ending.remove(&epoch);
        self.released.remove(&epoch);
    }

    /// Its proxy is alive; false when the epoch is over or about to be.
    pub(super) fn renew(&mut self, epoch: Epoch, now: Duration) -> bool {
        let alive = self.ends.contains(epoch) && !self.ending.contains(&epoch);
        if alive {
            self.ends.set(epoch, Some(now + self.lease));
        }
        alive
    }

    /// Notes what the proxy of a living epoch has released; true when it is the first time that it tells.
    pub(super) fn release(&mut self, epoch: Epoch, released: &[(GroupId, Position)]) -> bool {
        let first = !self.released.contains_key(&epoch);
        let known = self.released.entry(epoch).or_default();
        for (group, position) in released {
            if known.len() < MAX_GROUPS || known.contains_key(group) {
                let before = known.entry(*group).or_default();
                *before = (*before).max(*position);
            }
        }
        first
    }

    /// The epochs whose end is to be asked for now.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Epoch> {
        let over: Vec<Epoch> = std::iter::from_fn(|| self.ends.pop_due(now)).collect();
        for epoch in &over {
            self.ending.insert(*epoch);
            self.ends.set(*epoch, Some(now + self.ask_again));
        }
        over
    }

    /// When the next end is to be asked for.
    pub(super) fn first(&self) -> Option<Duration> {
        self.ends.first()
    }

    /// Whether every living proxy has released the group's positions up to `position`. One that started after it has
    /// nothing to do with it.
    pub(super) fn released(&self, shard: &ShardState, group: GroupId, position: Position) -> Released {
        let concerned = shard.epochs().iter().filter(|(_, epoch)| epoch.opened_at < position);
        let each = concerned.map(|(epoch, _)| match self.released.get(epoch) {
            None => Released::Unknown,
            Some(groups) if groups.get(&group).is_some_and(|released| *released >= position) => Released::Yes,
            Some(_) => Released::No,
        });
        each.fold(Released::Yes, |all, one| match (all, one) {
            (Released::No, _) | (_, Released::No) => Released::No,
            (Released::Unknown, _) | (_, Released::Unknown) => Released::Unknown,
            _ => Released::Yes,
        })
    }
}
