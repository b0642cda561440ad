//! The services of a shard: the log's groups and the bundles of this node put together, and ports opened.
//!
//! A group begins with its record. A node adopts it when it has the group's bundle prepared: with the bundles given at
//! the start at once, with others when they were found in the data folder or fetched from another node.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use refrain_engine::Platform;
use refrain_engine::replica::ReplicaId;
use refrain_proxy::core::GroupConfig;
use refrain_proxy::nat::GroupLimits;
use refrain_sequencer::shard::Group as LogGroup;
use refrain_service::{Bundle, BundleDigest};
use refrain_wire::message::uplink::ToLeader;
use refrain_wire::{Control, Epoch, GroupId, Position, Seat};

use super::Inner;
use super::group::Group;
use super::start::Served;
use crate::service::Service;

/// How long after a failed try a bundle is asked for again.
const FETCH_RETRY: Duration = Duration::from_millis(250);
const MAX_FETCH_RETRY: Duration = Duration::from_secs(30);

/// The bundles of this node.
pub(super) struct Catalog {
    platform: Platform,
    store: PathBuf,
    replicas: Option<u8>,
    /// Services that the operator gave and that can run.
    pub(super) given: Vec<Arc<Service>>,
    /// Services whose modules cannot run.
    pub(super) refused: Vec<Arc<Service>>,
    prepared: RefCell<BTreeMap<[u8; 32], Arc<Service>>>,
    /// Groups that wait for their bundle.
    waiting: RefCell<BTreeSet<GroupId>>,
}

impl Catalog {
    /// `store` is where bundles are kept; `replicas` replaces what manifests say.
    pub(super) fn new(platform: Platform, store: PathBuf, replicas: Option<u8>, services: Vec<Arc<Service>>) -> Self {
        let (given, refused): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| service.can_run());
        let prepared = given.iter().map(|service| (service.bundle, Arc::clone(service))).collect();
        Self {
            platform,
            store,
            replicas,
            given,
            refused,
            prepared: RefCell::new(prepared),
            waiting: RefCell::default(),
        }
    }

    fn get(&self, bundle: &[u8; 32]) -> Option<Arc<Service>> {
        self.prepared.borrow().get(bundle).cloned()
    }

    /// Opens a bundle of the data folder and compiles its module, which may take seconds.
    fn prepare(&self, bundle: [u8; 32]) -> anyhow::Result<Arc<Service>> {
        let opened = Bundle::open(&self.store, BundleDigest::new(bundle))?;
        let service = Arc::new(Service::prepare(opened, &self.platform, self.replicas));
        self.prepared.borrow_mut().insert(bundle, Arc::clone(&service));
        Ok(service)
    }
}

impl Inner {
    /// At the start: adopts the groups that the log has.
    ///
    /// # Errors
    /// When a group cannot be run here as the log says, in the operator's words.
    pub(super) fn adopt_known(&self) -> anyhow::Result<()> {
        let known = self.view.with_shard(|shard| shard.groups().clone());
        for (id, group) in &known {
            self.check_given(group)?;
            let service = match self.catalog.get(&group.bundle) {
                Some(service) => service,
                None => (self.catalog.prepare(group.bundle))
                    .with_context(|| format!("the bundle of {} cannot be opened", group.service))?,
            };
            self.adopt(*id, group, service)?;
        }
        Ok(())
    }

    /// What is given for a group must be what the log has for it.
    fn check_given(&self, group: &LogGroup) -> anyhow::Result<()> {
        if let Some(broken) = self.catalog.refused.iter().find(|service| service.name == group.service) {
            bail!("{} is in the log, and what is given for it now cannot run: {}", broken.name, broken.why_refused());
        }
        if group.engine != self.catalog.platform.key() {
            bail!(
                "{} was made by engine {}, this is engine {}: its log cannot be replayed by this version",
                group.service,
                group.engine,
                self.catalog.platform.key()
            );
        }
        match self.catalog.given.iter().find(|service| service.name == group.service) {
            Some(service) if service.bundle != group.bundle => bail!(
                "{} is in {} already, made from bundle {}; the bundle given now is {}. Give the former, or use \
                 another --data-dir",
                group.service,
                self.config.data_dir.display(),
                BundleDigest::new(group.bundle),
                BundleDigest::new(service.bundle)
            ),
            _ => Ok(()),
        }
    }

    /// A group was created by the record that is being applied.
    pub(super) fn created(&self, id: GroupId) {
        let Some(group) = self.view.with_shard(|shard| shard.groups().get(&id).cloned()) else { return };
        if let Err(error) = self.check_given(&group) {
            return tracing::error!(service = group.service, "{error}; this node does not take part in it");
        }
        match self.catalog.get(&group.bundle) {
            Some(service) => self.adopt_or_tell(id, &group, service),
            None => {
                self.catalog.waiting.borrow_mut().insert(id);
                self.fetch_and_adopt(id, group);
            }
        }
    }

    fn adopt_or_tell(&self, id: GroupId, group: &LogGroup, service: Arc<Service>) {
        if let Err(error) = self.adopt(id, group, service) {
            tracing::error!(service = group.service, error = ?error, "this node does not serve the group");
        }
        self.catalog.waiting.borrow_mut().remove(&id);
        self.tell_joined();
    }

    /// Finds the bundle of a group, here or at another node, and adopts the group then.
    fn fetch_and_adopt(&self, id: GroupId, group: LogGroup) {
        let Some(inner) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let mut wait = FETCH_RETRY;
            while let Err(error) = inner.obtain_bundle(group.bundle).await {
                let bundle = BundleDigest::new(group.bundle);
                tracing::warn!(service = group.service, %bundle, error = ?error, "no bundle for the group yet");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(MAX_FETCH_RETRY);
            }
            match inner.catalog.prepare(group.bundle) {
                Ok(service) => {
                    // Its seats may have changed meanwhile.
                    let now = inner.view.with_shard(|shard| shard.groups().get(&id).cloned());
                    inner.adopt_or_tell(id, now.as_ref().unwrap_or(&group), service);
                    inner.bind_anew();
                }
                Err(error) => tracing::error!(service = group.service, error = ?error, "the bundle cannot be prepared"),
            }
        });
    }

    /// Makes a group known here and to the front end, with its seats as the log has them, and listens for it.
    fn adopt(&self, id: GroupId, known: &LogGroup, service: Arc<Service>) -> anyhow::Result<()> {
        let blueprint = match &self.engine {
            Some(_) => {
                let made = service.blueprint(id);
                Some(made.with_context(|| format!("{} cannot run: {}", service.name, service.why_refused()))?)
            }
            None => None,
        };
        let seats = known.seats.len() as u8;
        if seats != service.seats {
            tracing::warn!(service = service.name, seats, "the service keeps the number of seats it has in the log");
        }
        // What the group says in its first turn is released too.
        let at = self.view.position();
        let released = if known.created == at { Position(at.0.saturating_sub(1)) } else { at };
        let config = GroupConfig {
            service: service.name.clone(),
            seats,
            agreement: known.agreement,
            limits: limits(&service),
            released,
        };
        self.front().add_group(id, config);
        self.traces.serves(id, &service.name);
        for (seat, state) in (0..).map(Seat).zip(&known.seats).filter(|(_, state)| state.incarnation.0 > 0) {
            self.front().take_seat(id, seat, state.incarnation, state.taken_at);
            if state.quarantined {
                self.front().quarantine(id, seat, state.incarnation, released);
            }
        }
        let group = Group::new(id, self.node, service, blueprint, known);
        if group.halted {
            self.front().halt(id, released);
        }
        self.groups.borrow_mut().insert(id, group);
        self.install_since_start(id, known);
        self.listen(id)
    }

    /// Seats that this node was given since it started: their replicas run here.
    fn install_since_start(&self, id: GroupId, known: &LogGroup) {
        for (seat, state) in (0..).map(Seat).zip(&known.seats) {
            if state.node == Some(self.node) && state.taken_at > self.started_at && !state.quarantined {
                if let Some(group) = self.groups.borrow_mut().get_mut(&id)
                    && let Some(holder) = group.seat_mut(seat)
                {
                    holder.take(state.incarnation, self.node, state.taken_at);
                }
                self.install_replica(ReplicaId { group: id, seat, incarnation: state.incarnation });
            }
        }
    }

    /// Listens for clients of a group.
    fn listen(&self, id: GroupId) -> anyhow::Result<()> {
        if !self.config.cluster.roles.proxy {
            return Ok(());
        }
        let service = Arc::clone(&self.groups.borrow()[&id].service);
        for port in &service.ports {
            let elsewhere = (self.config.listen.iter()).find(|at| at.service == service.name && at.port == port.name);
            let wanted = elsewhere.map_or(port.listen, |at| at.address);
            let address = self.front().listen(wanted, id, port.guest).with_context(|| {
                format!("{}: cannot listen on {wanted} for port {:?}", service.full_name, port.name)
            })?;
            if let Some(group) = self.groups.borrow_mut().get_mut(&id) {
                group.addresses.push((port.guest, address));
            }
        }
        Ok(())
    }

    /// What this node serves, and where.
    pub(super) fn served(&self) -> Vec<Served> {
        let groups = self.groups.borrow();
        let mut served: Vec<Served> = groups
            .values()
            .flat_map(|group| {
                group.service.ports.iter().filter_map(|port| {
                    let address = group.address(port.guest)?;
                    let (service, port) = (group.service.full_name.clone(), port.name.clone());
                    Some(Served { service, port, seats: group.seats.len() as u8, address })
                })
            })
            .collect();
        served.sort_by(|a, b| (&a.service, &a.port).cmp(&(&b.service, &b.port)));
        served
    }

    /// Services that the operator gave and that are not in the log.
    pub(super) fn missing_services(&self) -> Vec<Arc<Service>> {
        if self.catalog.given.is_empty() {
            return Vec::new();
        }
        self.view.with_shard(|shard| {
            let known: BTreeSet<&str> = shard.groups().values().map(|group| group.service.as_str()).collect();
            let missing = self.catalog.given.iter().filter(|service| !known.contains(service.name.as_str()));
            missing.cloned().collect()
        })
    }

    /// Whether every group that can be adopted was.
    pub(super) fn all_adopted(&self) -> bool {
        self.catalog.waiting.borrow().is_empty()
    }

    /// Has the leader create the services that are not in the log. A proxy has its epoch first: what new groups say in
    /// their first turn is then released.
    pub(super) fn create_missing(&self) {
        let waits = self.config.cluster.roles.proxy && self.epoch.get() == Epoch(0);
        if !self.link_is_up() || waits {
            return;
        }
        for service in self.missing_services() {
            let control = Control::Create {
                service: service.name.clone(),
                bundle: service.bundle,
                engine: self.catalog.platform.key(),
                seats: service.seats,
                agreement: service.agreement,
            };
            // The leader gives the group its number.
            self.tell_leader(ToLeader::Control { request: 0, group: GroupId::SHARD, control });
        }
    }
}

fn limits(service: &Service) -> GroupLimits {
    GroupLimits {
        window_bytes: service.socket_buffer_bytes,
        kept_bytes: service.socket_buffers_bytes,
        connections: Some(service.flows as usize),
        connections_per_client: Some(service.flows_per_client as usize),
        idle: Some(service.idle.unwrap_or(Duration::MAX)),
    }
}

impl Group {
    fn address(&self, guest: u16) -> Option<SocketAddr> {
        self.addresses.iter().find(|(port, _)| *port == guest).map(|(_, address)| *address)
    }
}
