//! Fetching and compiling what replicas of this node are to run, and telling the leader of it and of rollbacks.

use std::sync::Arc;
use std::time::Duration;

use refrain_engine::replica::Blueprint;
use refrain_engine::{Replica, ReplicaId};
use refrain_service::BundleDigest;
use refrain_wire::message::uplink::{Preparation, ToLeader};
use refrain_wire::{GroupId, NodeId, Position};

use super::super::group::Upgraded;
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

    /// What a replica begins with that replays a group's log; `None` when the log no longer knows, or it is not prepared.
    pub(in crate::shard) fn first_blueprint(&self, id: GroupId) -> Option<Arc<Blueprint>> {
        let first = self.view.with_shard(|shard| {
            let group = shard.groups().get(&id)?;
            group.programs().next().filter(|program| program.from == group.created)
        });
        self.catalog.blueprint(id, &first?.bundle)
    }

    /// A replica that goes on from a checkpoint runs what it says there: the log may not know yet that its last upgrade
    /// before that was rolled back.
    pub(in crate::shard) fn restored_program(&self, replica: &Replica) {
        let id = replica.id();
        let rolled_back = self.view.with_shard(|shard| {
            let log = shard.groups().get(&id.group)?;
            let other = log.bundle != replica.bundle() && log.upgraded_at <= replica.position();
            other.then_some(log.upgraded_at)
        });
        let Some(at) = rolled_back else { return };
        let reason = "it did not start".to_owned();
        if let Some(group) = self.groups.borrow_mut().get_mut(&id.group)
            && let Some(seat) = group.holder_mut(id.seat, id.incarnation)
        {
            seat.guest.upgrade = Some(Upgraded { position: at, rolled_back: Some(reason.clone()) });
        }
        self.replica_upgraded(id, at, Some(&reason));
    }

    /// Whether everything is prepared that a replica may have to run. If not, it is installed when it is, if it still
    /// holds its seat then.
    pub(in crate::shard) fn programs_are_prepared(&self, id: ReplicaId, from: Position) -> bool {
        let programs: Vec<[u8; 32]> = self.view.with_shard(|shard| {
            let group = shard.groups().get(&id.group);
            group.map(|group| group.programs().map(|program| program.bundle).collect()).unwrap_or_default()
        });
        let prepared = programs.iter().all(|bundle| self.catalog.blueprint(id.group, bundle).is_some());
        if !prepared {
            self.install_when_prepared(id, from, programs);
        }
        prepared
    }

    fn install_when_prepared(&self, id: ReplicaId, from: Position, programs: Vec<[u8; 32]>) {
        let Some(inner) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let holds = || {
                let groups = inner.groups.borrow();
                groups.get(&id.group).and_then(|group| group.local_replica(id.seat)) == Some(id)
            };
            for bundle in programs {
                let Some(service) = inner.obtain_at_last(id.group, bundle, holds).await else { return };
                if !service.can_run() {
                    let why = format!("what the group ran before cannot run here: {}", service.why_refused());
                    return inner.replica_failed(id, why);
                }
            }
            if holds() {
                inner.install_replica(id, from);
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
