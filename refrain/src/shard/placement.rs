//! Which services this shard has: the log of the first shard says so, for all of them.
//!
//! A service begins on the first shard with its group's record, and on another one with a record of its place in the
//! first shard's log; only who has seen that record has the group created there. Whichever of the two records comes
//! first counts, on every node alike, so a service is on one shard whatever nodes were told, and it stays there.
//!
//! The shards of a process share the places: the first one tells them, the others look.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::bail;
use refrain_wire::{Control, ShardControl, ShardId};
use tokio::sync::watch;

use super::Inner;
use crate::service::Service;

/// The services of all shards but the first, as the first one's log has them. Handles are cheap to clone and see the
/// same places.
#[derive(Clone)]
pub struct Places(Arc<watch::Sender<Arc<BTreeMap<String, ShardId>>>>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Arc::default())))
    }
}

impl Places {
    /// The shard that has a service, if there is one with this name.
    #[must_use]
    pub fn of(&self, service: &str) -> ShardId {
        self.0.borrow().get(service).copied().unwrap_or(ShardId::FIRST)
    }

    fn is_used(&self, shard: ShardId) -> bool {
        self.0.borrow().values().any(|used| *used == shard)
    }
}

impl Inner {
    /// Which shard this is.
    pub(super) fn shard(&self) -> ShardId {
        self.config.cluster.shard
    }

    /// The first shard's state has changed, or was read: the others are told where services are.
    pub(super) fn tell_places(&self) {
        if self.shard() == ShardId::FIRST {
            let placed = self.view.with_shard(|shard| shard.placed().clone());
            self.warn_of(&placed);
            self.places.0.send_replace(Arc::new(placed));
        }
    }

    /// Services of which this node has not told yet that it cannot have them as it was told.
    fn warn_of(&self, placed: &BTreeMap<String, ShardId>) {
        let known = self.places.0.borrow().clone();
        for (service, shard) in placed.iter().filter(|(service, _)| !known.contains_key(*service)) {
            if let Err(error) = self.check_place(service, *shard) {
                tracing::error!(service, "{error}");
            }
        }
    }

    /// Whether the operator wants a service where it is.
    pub(super) fn check_place(&self, service: &str, shard: ShardId) -> anyhow::Result<()> {
        let shards = &self.config.cluster.shards;
        if shard.0 >= shards.count {
            bail!(
                "{service} is on shard {shard}, and the configuration has shards 0 to {}: their number must be the same \
                 on every node, and never less than it was",
                shards.count - 1
            );
        }
        match shards.named(service) {
            Some(named) if named != shard => bail!(
                "{service} is on shard {shard} and stays there; the configuration places it on shard {named}. Take that \
                 out, or say {shard}"
            ),
            _ => Ok(()),
        }
    }

    /// At the start: every service is where the operator wants it, or nowhere yet. One on a shard that this node does not
    /// have is told by `warn_of`: a node that was told a greater number must not keep others from starting.
    pub(super) fn check_places(&self) -> anyhow::Result<()> {
        let (groups, placed) = self.view.with_shard(|shard| {
            let groups: Vec<String> = shard.groups().values().map(|group| group.service.clone()).collect();
            (groups, shard.placed().clone())
        });
        groups.iter().try_for_each(|service| self.check_place(service, self.shard()))?;
        let mut here = placed.iter().filter(|(_, shard)| shard.0 < self.config.cluster.shards.count);
        here.try_for_each(|(service, shard)| self.check_place(service, *shard))
    }

    /// Services that the operator gave and that this shard is to see to: on the first one those that are nowhere, on
    /// another one those that were placed there and have no group yet.
    pub(super) fn missing_services(&self) -> Vec<Arc<Service>> {
        if self.catalog.given.is_empty() {
            return Vec::new();
        }
        self.view.with_shard(|state| {
            let known: BTreeSet<&str> = state.groups().values().map(|group| group.service.as_str()).collect();
            let is_missing = |name: &str| match self.shard() {
                _ if known.contains(name) => false,
                ShardId::FIRST => !state.placed().contains_key(name),
                here => self.places.of(name) == here,
            };
            self.catalog.given.iter().filter(|service| is_missing(&service.name)).cloned().collect()
        })
    }

    /// The record with which a service begins that is missing here.
    pub(super) fn beginning_of(&self, service: &Service) -> Control {
        let shard = self.config.cluster.shards.choose(&service.name);
        if self.shard() == ShardId::FIRST && shard != ShardId::FIRST {
            return Control::Shard(ShardControl::Place { service: service.name.clone(), shard });
        }
        Control::Create {
            service: service.name.clone(),
            bundle: service.bundle,
            engine: self.catalog.key(),
            seats: service.seats,
            agreement: service.agreement,
        }
    }

    /// Whether nothing is known to be on this shard: nobody has to wait until it has a leader. The first one has the
    /// places, and is waited for.
    pub(super) fn is_unused(&self) -> bool {
        self.shard() != ShardId::FIRST && !self.places.is_used(self.shard())
    }
}

/// On a shard that is not the first: creates what is placed here.
pub(super) async fn follow(inner: Rc<Inner>) {
    let mut places = inner.places.0.subscribe();
    // The sender is this very object's as well.
    while places.changed().await.is_ok() {
        inner.create_missing();
        inner.tell_joined();
    }
}
