//! The services of a shard: the log's groups and the given folders put together, replicas seated, ports opened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use refrain_engine::Platform;
use refrain_proxy::core::GroupConfig;
use refrain_proxy::nat::GroupLimits;
use refrain_sequencer::log::OrderedLog as _;
use refrain_service::{Bundle, BundleDigest};
use refrain_wire::{Control, GroupId};
use tokio::sync::oneshot;

use super::Inner;
use super::group::Group;
use super::start::Served;
use crate::config::Config;
use crate::service::Service;

impl Inner {
    /// Puts the log's groups and the given services together. Returns each with its group.
    pub(super) async fn match_groups(
        &self,
        given: Vec<Arc<Service>>,
        config: &Config,
        platform: &Platform,
    ) -> anyhow::Result<Vec<(GroupId, Arc<Service>, bool)>> {
        let known = self.sequencer.with_shard(|shard| shard.groups().clone());
        let mut given: BTreeMap<String, Arc<Service>> =
            given.into_iter().map(|service| (service.name.clone(), service)).collect();
        let mut matched = Vec::new();
        for (id, group) in &known {
            if let Some(broken) = self.refused.iter().find(|service| service.name == group.service) {
                bail!(
                    "{} is in the log, and what is given for it now cannot run: {}",
                    broken.name,
                    broken.why_refused()
                );
            }
            if group.engine != platform.key() {
                bail!(
                    "{} was made by engine {}, this is engine {}: its log cannot be replayed by this version",
                    group.service,
                    group.engine,
                    platform.key()
                );
            }
            let service = match given.remove(&group.service) {
                Some(service) if service.bundle != group.bundle => bail!(
                    "{} is in {} already, made from bundle {}; the bundle given now is {}. Give the former, or use \
                     another --data-dir",
                    group.service,
                    config.data_dir.display(),
                    BundleDigest::new(group.bundle),
                    BundleDigest::new(service.bundle)
                ),
                Some(service) => service,
                None => {
                    let bundle = Bundle::open(&config.data_dir.join("bundles"), BundleDigest::new(group.bundle))
                        .with_context(|| format!("the bundle of {} cannot be opened", group.service))?;
                    Arc::new(Service::prepare(bundle, platform, None))
                }
            };
            matched.push((*id, service, false));
        }
        let next = known.last_key_value().map_or(1, |(id, _)| id.0 + 1);
        matched.extend(given.into_values().zip(next..).map(|(service, id)| (GroupId(id), service, true)));
        self.add_groups(&matched, platform).await?;
        Ok(matched)
    }

    /// Makes groups known here and to the front end, and orders the creation of new ones.
    async fn add_groups(&self, matched: &[(GroupId, Arc<Service>, bool)], platform: &Platform) -> anyhow::Result<()> {
        let released = self.log.committed();
        let mut created = Vec::new();
        for (id, service, new) in matched {
            let blueprint = service
                .blueprint(*id)
                .with_context(|| format!("{} cannot run: {}", service.name, service.why_refused()))?;
            let known = self.sequencer.with_shard(|shard| shard.groups().get(id).cloned());
            let seats = known.as_ref().map_or(service.seats, |group| group.seats.len() as u8);
            if seats != service.seats {
                tracing::warn!(service = service.name, seats, "the service keeps the number of seats it was made with");
            }
            let mut group = Group::new(*id, Arc::clone(service), blueprint, seats);
            if let Some(known) = &known {
                group.last_turn = self.history.last_turn(*id);
                group.halted = known.halted.is_some();
                for (seat, state) in group.seats.iter_mut().zip(&known.seats) {
                    seat.incarnation = state.incarnation;
                }
            }
            let limits = GroupLimits {
                window_bytes: service.socket_buffer_bytes,
                kept_bytes: service.socket_buffers_bytes,
                connections: Some(service.flows as usize),
                connections_per_client: Some(service.flows_per_client as usize),
                idle: Some(service.idle.unwrap_or(Duration::MAX)),
            };
            let agreement = known.as_ref().map_or(service.agreement, |group| group.agreement);
            let config = GroupConfig { service: service.name.clone(), seats, agreement, limits, released };
            self.front().add_group(*id, config);
            if group.halted {
                self.front().halt(*id, released);
            }
            self.groups.borrow_mut().insert(*id, group);
            if *new {
                let create = Control::Create {
                    service: service.name.clone(),
                    bundle: service.bundle,
                    engine: platform.key(),
                    seats,
                    agreement: service.agreement,
                };
                let (reply, answer) = oneshot::channel();
                self.append(*id, create, reply);
                created.push((service, answer));
            }
        }
        for (service, answer) in created {
            match answer.await {
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => bail!("{} could not be created: {failure}", service.name),
                Err(_) => bail!("{} could not be created: the log has failed", service.name),
            }
        }
        Ok(())
    }

    /// Seats replicas and listens.
    pub(super) async fn serve(&self, services: Vec<(GroupId, Arc<Service>, bool)>) -> anyhow::Result<Vec<Served>> {
        let mut served = Vec::new();
        for (id, service, _) in services {
            let (seats, halted) = {
                let groups = self.groups.borrow();
                (groups[&id].seats.len() as u8, groups[&id].halted)
            };
            if !halted {
                self.take_seats(id);
            }
            for port in &service.ports {
                let address = self.front().listen(port.listen, id, port.guest).with_context(|| {
                    format!("{}: cannot listen on {} for port {:?}", service.full_name, port.listen, port.name)
                })?;
                let addresses = &mut self.groups.borrow_mut();
                if let Some(group) = addresses.get_mut(&id) {
                    group.addresses.push((port.guest, address));
                }
                let (service, port) = (service.full_name.clone(), port.name.clone());
                served.push(Served { service, port, seats, address });
            }
        }
        Ok(served)
    }
}
