//! The services of a shard: the log's groups and the bundles of this node put together.
//!
//! A group begins with its record. From then on every node's proxy follows it, as kernels choose the owners of calls
//! among all proxies. A node adopts it when it has the group's bundle prepared: with the bundles given at the start at
//! once, with others when they were found in the data folder or fetched from another node.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use refrain_engine::replica::ReplicaId;
use refrain_proxy::core::GroupConfig;
use refrain_proxy::nat::GroupLimits;
use refrain_sequencer::shard::Group as LogGroup;
use refrain_service::{BundleDigest, Protocol, bounds};
use refrain_wire::message::uplink::ToLeader;
use refrain_wire::{Epoch, GroupId, Position, Seat};

use super::Inner;
use super::group::Group;
use crate::service::Service;

impl Inner {
    /// At the start: adopts the groups that the log has. One whose bundle is not here waits until another node gave it.
    ///
    /// # Errors
    /// When a group cannot be run here as the log says, in the operator's words.
    pub(super) async fn adopt_known(&self) -> anyhow::Result<()> {
        self.check_places()?;
        let known = self.view.with_shard(|shard| shard.groups().clone());
        for (id, group) in &known {
            self.check_given(group)?;
            self.introduce(*id, group);
            let prepared = match self.catalog.get(&group.bundle) {
                Some(service) => Ok(service),
                None => self.catalog.prepare_now(group.bundle),
            };
            match prepared {
                Ok(service) => self.adopt(*id, group, service)?,
                // The node was away when the group was upgraded: others have the bundle.
                Err(error) if !self.other_nodes().is_empty() => {
                    tracing::info!(service = group.service, %error, "the group's bundle is fetched from another node");
                    self.adopt_when_prepared(*id);
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("the bundle of {} cannot be opened", group.service));
                }
            }
        }
        Ok(())
    }

    /// What is given for a group must be what the log has for it, unless an upgrade has decided since.
    fn check_given(&self, group: &LogGroup) -> anyhow::Result<()> {
        if let Some(broken) = self.catalog.refused.iter().find(|service| service.name == group.service) {
            bail!("{} is in the log, and what is given for it now cannot run: {}", broken.name, broken.why_refused());
        }
        if group.engine != self.catalog.key() {
            bail!(
                "{} was made by engine {}, this is engine {}: its log cannot be replayed by this version",
                group.service,
                group.engine,
                self.catalog.key()
            );
        }
        let given = self.catalog.given.iter().find(|service| service.name == group.service);
        let Some(given) = given.filter(|service| service.bundle != group.bundle) else { return Ok(()) };
        let (runs, given_now) = (BundleDigest::new(group.bundle), BundleDigest::new(given.bundle));
        if group.upgraded_at > group.created {
            tracing::warn!(
                "{} was upgraded at position {} and runs bundle {runs}; {}, bundle {given_now}, is given now and is not \
                 used. Give the folder that it was upgraded to, or change what runs with `rctl service upgrade {} FOLDER`",
                group.service,
                group.upgraded_at,
                given.full_name,
                group.service
            );
            return Ok(());
        }
        bail!(
            "{name} is in {data_dir} already and runs bundle {runs}; the folder given now is another one, bundle \
             {given_now}. To change what runs, start without that folder ({start}), then `rctl service upgrade {name} \
             FOLDER`; to begin with nothing, use another --data-dir",
            name = group.service,
            data_dir = self.config.data_dir.display(),
            start = match self.config.cluster.file {
                None => format!("`refrain up --data-dir {}`", self.config.data_dir.display()),
                Some(_) => "what the log has runs all the same".to_owned(),
            },
        )
    }

    /// A group was created by the record that is being applied.
    pub(super) fn created(&self, id: GroupId) {
        let Some(group) = self.view.with_shard(|shard| shard.groups().get(&id).cloned()) else { return };
        self.introduce(id, &group);
        if let Err(error) = self.check_given(&group) {
            return tracing::error!(service = group.service, "{error}; this node does not take part in it");
        }
        match self.catalog.get(&group.bundle) {
            Some(service) => self.adopt_or_tell(id, &group, service),
            None => self.adopt_when_prepared(id),
        }
    }

    fn adopt_or_tell(&self, id: GroupId, group: &LogGroup, service: Arc<Service>) {
        if let Err(error) = self.adopt(id, group, service) {
            tracing::error!(service = group.service, error = ?error, "this node does not serve the group");
        }
        self.catalog.waiting.borrow_mut().remove(&id);
        self.tell_joined();
    }

    /// Finds the bundle of a group, here or at another node, and adopts the group then, as the log has it by then.
    fn adopt_when_prepared(&self, id: GroupId) {
        self.catalog.waiting.borrow_mut().insert(id);
        let Some(inner) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let now = || inner.view.with_shard(|shard| shard.groups().get(&id).cloned());
            while let Some(group) = now() {
                let bundle = group.bundle;
                let wanted = || now().is_some_and(|group| group.bundle == bundle);
                let Some(service) = inner.obtain_at_last(id, bundle, wanted).await else { continue };
                let Some(group) = now() else { return };
                if group.bundle == bundle {
                    return inner.adopt_or_tell(id, &group, service);
                }
            }
        });
    }

    /// Makes a group known to the front end, with its seats as the log has them, whether its bundle is here or not, and
    /// whether it can run here: calls of its guest may be given to this proxy from its first turn on. The limits are the
    /// least that a service can have until they are known.
    fn introduce(&self, id: GroupId, known: &LogGroup) {
        // What the group says in its first turn is released too.
        let at = self.view.position();
        let released = if known.created == at { Position(at.0.saturating_sub(1)) } else { at };
        let config = GroupConfig {
            service: known.service.clone(),
            seats: known.seats.len() as u8,
            agreement: known.agreement,
            limits: LEAST_LIMITS,
            released,
        };
        self.front().add_group(id, config);
        for (seat, state) in (0..).map(Seat).zip(&known.seats).filter(|(_, state)| state.incarnation.0 > 0) {
            self.front().take_seat(id, seat, state.incarnation, state.taken_at);
            if state.quarantined {
                self.front().quarantine(id, seat, state.incarnation, released);
            }
        }
        if known.halted.is_some() {
            self.front().halt(id, released);
        }
    }

    /// Makes a group that was introduced known here, with its seats as the log has them, and listens for it.
    fn adopt(&self, id: GroupId, known: &LogGroup, service: Arc<Service>) -> anyhow::Result<()> {
        if self.engine.is_some() && self.catalog.blueprint(id, &service.bundle).is_none() {
            bail!("{} cannot run: {}", service.name, service.why_refused());
        }
        let seats = known.seats.len() as u8;
        if seats != service.seats {
            tracing::warn!(service = service.name, seats, "the service keeps the number of seats it has in the log");
        }
        self.front().update_group(id, limits(&service), service.name.clone());
        self.traces.serves(id, &service.name);
        let group = Group::new(id, self.node, service, known);
        self.groups.borrow_mut().insert(id, group);
        self.agreed_on(id);
        self.tell_office_of(id);
        self.look_at_history(id);
        self.install_since_start(id, known);
        self.listen(id);
        Ok(())
    }

    /// Seats that this node was given since it started: their replicas run here.
    fn install_since_start(&self, id: GroupId, known: &LogGroup) {
        for (seat, state) in (0..).map(Seat).zip(&known.seats) {
            if state.node == Some(self.node) && state.taken_at > self.started_at.get() && !state.quarantined {
                if let Some(group) = self.groups.borrow_mut().get_mut(&id)
                    && let Some(holder) = group.seat_mut(seat)
                {
                    holder.take(state.incarnation, self.node, state.taken_at);
                }
                self.install_replica(ReplicaId { group: id, seat, incarnation: state.incarnation }, state.from);
            }
        }
    }

    /// Whether every group that can be adopted was.
    pub(super) fn all_adopted(&self) -> bool {
        self.catalog.waiting.borrow().is_empty()
    }

    /// Has the leader create, or place, the services that are missing here. A proxy has its epoch first: what new groups
    /// say in their first turn is then released.
    pub(super) fn create_missing(&self) {
        let waits = self.config.cluster.roles.proxy && self.epoch.get() == Epoch(0);
        if !self.link_is_up() || waits {
            return;
        }
        for service in self.missing_services() {
            // The leader gives a group its number.
            let control = self.beginning_of(&service);
            self.tell_leader(ToLeader::Control { request: 0, group: GroupId::SHARD, control });
        }
    }
}

/// Limits that no kernel has less of. No client is accepted before others are known.
const LEAST_LIMITS: GroupLimits = GroupLimits {
    window_bytes: bounds::SOCKET_BUFFER.min.get(),
    buffers_bytes: bounds::SOCKET_BUFFERS.min.get(),
    connections: Some(0),
    associations: Some(0),
    connections_per_client: Some(0),
    idle: None,
};

/// The limits of a service at the proxy. Where it has streams and datagrams, associations leave half of the places to
/// connections: anybody can make one, with any address.
pub(super) fn limits(service: &Service) -> GroupLimits {
    let has_streams = service.ports.iter().any(|port| port.protocol == Protocol::Tcp);
    GroupLimits {
        window_bytes: service.socket_buffer_bytes,
        buffers_bytes: service.socket_buffers_bytes,
        connections: Some(service.flows as usize),
        associations: has_streams.then_some(service.flows as usize / 2),
        connections_per_client: Some(service.flows_per_client as usize),
        idle: Some(service.idle.unwrap_or(Duration::MAX)),
    }
}
