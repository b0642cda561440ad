//! Fetching and compiling what replicas of this node are to run, and telling the leader of it and of rollbacks.

use std::sync::Arc;
use std::time::Duration;

use refrain_engine::ReplicaId;
use refrain_engine::replica::Blueprint;
use refrain_service::BundleDigest;
use refrain_wire::message::uplink::{Preparation, ToLeader};
use refrain_wire::{GroupId, NodeId, Position};

use super::Inner;
use crate::service::Service;

/// How long after a failed try a bundle is asked for again.
const FETCH_RETRY: Duration = Duration::from_millis(250);
const MAX_FETCH_RETRY: Duration = Duration::from_secs(30);

impl Inner {
    /// The leader wants a bundle prepared for a group.
    pub(in crate::shard) fn prepare(&self, group: GroupId, bundle: [u8; 32]) {
        let Some(inner) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let tell = |preparation| inner.tell_leader(ToLeader::Preparing { group, bundle, preparation });
            let obtained = inner.obtain_service(bundle, tell).await;
            tell(match obtained {
                Ok(service) if service.can_run() => {
                    let _ = inner.catalog.blueprint(group, &bundle);
                    Preparation::Ready
                }
                Ok(service) => Preparation::Failed(service.why_refused()),
                Err(error) => Preparation::Failed(format!("{error:#}")),
            });
        });
    }

    /// How far an engine is with a bundle.
    pub(in crate::shard) fn note_preparing(&self, id: GroupId, bundle: &[u8; 32], node: NodeId, at: Preparation) {
        if let Some(upgrade) = self.upgrades.borrow_mut().get_mut(&id).filter(|upgrade| upgrade.bundle == *bundle) {
            upgrade.note(node, at);
        }
    }

    /// Obtains a bundle and makes the group its service, if that is still wanted then.
    pub(super) fn prepare_for(&self, id: GroupId, bundle: [u8; 32]) {
        let Some(inner) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let wanted = || inner.groups.borrow().get(&id).is_some_and(|group| group.wanted == bundle);
            if let Some(service) = inner.obtain_at_last(id, bundle, wanted).await {
                inner.become_service(id, service);
            }
        });
    }

    /// Tries until a bundle is here, or nobody wants it any more.
    pub(in crate::shard) async fn obtain_at_last(
        &self,
        id: GroupId,
        bundle: [u8; 32],
        wanted: impl Fn() -> bool,
    ) -> Option<Arc<Service>> {
        let mut wait = FETCH_RETRY;
        while wanted() {
            match self.obtain_service(bundle, |_| ()).await {
                Ok(service) => return Some(service),
                Err(error) => {
                    let (service, bundle) = (self.service_name(id), BundleDigest::new(bundle));
                    tracing::warn!(service, %bundle, error = ?error, "no bundle for the group yet");
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(MAX_FETCH_RETRY);
        }
        None
    }

    /// What a replica begins with that replays a group's log, when everything that the group ever ran is prepared. Else
    /// `None`: the replica is installed when it is, if it still holds its seat then.
    pub(in crate::shard) fn first_blueprint(&self, id: ReplicaId) -> Option<Arc<Blueprint>> {
        let programs: Vec<[u8; 32]> = self.view.with_shard(|shard| {
            let group = shard.groups().get(&id.group);
            group.map(|group| group.programs().map(|program| program.bundle).collect()).unwrap_or_default()
        });
        let prepared: Option<Vec<_>> = programs.iter().map(|bundle| self.catalog.blueprint(id.group, bundle)).collect();
        match prepared {
            Some(all) => all.into_iter().next(),
            None => {
                self.install_when_prepared(id, programs);
                None
            }
        }
    }

    fn install_when_prepared(&self, id: ReplicaId, programs: Vec<[u8; 32]>) {
        let Some(inner) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let holds = || {
                let groups = inner.groups.borrow();
                groups.get(&id.group).and_then(|group| group.local_replica(id.seat)) == Some(id)
            };
            for bundle in programs {
                let Some(service) = inner.obtain_at_last(id.group, bundle, holds).await else { return };
                if !service.can_run() {
                    let (service, why) = (service.full_name.clone(), service.why_refused());
                    return tracing::error!(service, why, "the replica cannot replay what the group ran before");
                }
            }
            if holds() {
                inner.install_replica(id);
            }
        });
    }

    /// A replica of this node tells what came of an upgrade.
    pub(in crate::shard) fn replica_upgraded(&self, id: ReplicaId, at: Position, rolled_back: Option<&str>) {
        self.upgrade_settled(id.group, at, rolled_back);
        if rolled_back.is_some() {
            self.tell_rolled_back(id, at);
        }
    }

    fn tell_rolled_back(&self, id: ReplicaId, at: Position) {
        let newest =
            self.view.with_shard(|shard| shard.groups().get(&id.group).is_some_and(|log| log.upgraded_at == at));
        if newest {
            let ReplicaId { group, seat, incarnation } = id;
            self.tell_leader(ToLeader::RolledBack { group, seat, incarnation, position: at });
        }
    }

    /// Tells a new leader what it cannot know of upgrades: wishes, and those that did not start.
    pub(in crate::shard) fn tell_upgrades(&self) {
        let rolled_back: Vec<(ReplicaId, Position)> = {
            let groups = self.groups.borrow();
            let replicas = groups.values().flat_map(|group| group.local_replicas().map(move |id| (group, id)));
            let told = replicas.filter_map(|(group, id)| {
                let upgrade = group.seats[usize::from(id.seat.0)].guest.upgrade.as_ref()?;
                upgrade.rolled_back.is_some().then_some((id, upgrade.position))
            });
            told.collect()
        };
        rolled_back.into_iter().for_each(|(id, at)| self.tell_rolled_back(id, at));
        self.ask_for_upgrades();
    }
}
