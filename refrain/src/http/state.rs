//! What runs on this node and what is known of others: what plans are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use refrain_front::Front;
use refrain_service::{Manifest, ServiceId};
use refrain_wire::Position;

use super::component::Component;
use super::deployments::Deployment;
use super::hosted::{MAX_HOSTED, MAX_HOSTED_BYTES};
use super::nodes::Nodes;
use super::routes::{self, Known};
use super::{HttpError, WHOLE};
use crate::config::Endpoint;
use crate::shard::{Said, Served};

/// What cannot be served, by name, and why, in words.
pub(super) type Problems = BTreeMap<String, String>;

#[derive(Default)]
pub(super) struct State {
    pub(super) components: Vec<Component>,
    /// What was deployed before and cannot run now: it is remembered, and tried again at the next start.
    pub(super) kept: Vec<Deployment>,
    /// Replicated services that have routes, as they are now.
    pub(super) routed: Vec<Arc<Manifest>>,
    /// Those whose routes are none that can be followed, by `namespace/name@version`.
    pub(super) unroutable: Problems,
    /// Where ports of replicated services listen, by `namespace/name` and port.
    pub(super) served: BTreeMap<(String, String), Endpoint>,
    pub(super) nodes: Nodes,
    /// What the log says.
    pub(super) said: Said,
    pub(super) front: Option<Front>,
    /// The front end follows an older plan, as the last one could not be followed.
    pub(super) has_stale_plan: bool,
    /// Services that the plan does without, by `namespace/name`.
    pub(super) left_out: Problems,
    /// Services with a route that another one has.
    pub(super) shadowed: Problems,
    /// Versions that cannot run here, by `namespace/name@version`.
    pub(super) not_hosted: Problems,
    /// The front end listens for clients.
    pub(super) listens: bool,
    pub(super) is_ending: bool,
}

impl State {
    /// What plans are made of.
    pub(super) fn known(&self) -> Known<'_> {
        let Self { components, nodes, said, routed, served, .. } = self;
        Known { components, nodes, deployed: &said.services, routed, served }
    }

    /// Takes in where replicated services listen and which routes they have now, whatever they had when they were given
    /// or before an upgrade. Whether anything has changed.
    pub(super) fn take_served(&mut self, all: &[Served]) -> bool {
        let place = |one: &Served| Some(((routes::service(&one.manifest), one.port.clone()), one.at.clone().ok()?));
        let served = all.iter().filter_map(place).collect();
        let mut routed = self.routed.clone();
        for Served { manifest, .. } in all {
            match routed.iter_mut().find(|known| is_same_service(&known.id, &manifest.id)) {
                Some(known) => *known = Arc::clone(manifest),
                None => routed.push(Arc::clone(manifest)),
            }
        }
        routed.retain(|manifest| !manifest.routes.is_empty());
        let mut unroutable = Problems::new();
        routed.retain(|manifest| match routes::faults(manifest) {
            None => true,
            Some(reason) => {
                unroutable.insert(manifest.id.to_string(), reason);
                false
            }
        });
        for (service, reason) in unroutable.iter().filter(|(service, _)| !self.unroutable.contains_key(*service)) {
            tracing::error!(service, reason, "the routes of a service cannot be followed");
        }
        let has_changed = self.served != served || self.routed != routed;
        (self.served, self.routed, self.unroutable) = (served, routed, unroutable);
        has_changed
    }

    /// Takes a component in, if there is room and its routes can be followed; else why not, in words.
    pub(super) fn try_take(&mut self, component: Component, weight: Option<u16>) -> Result<(), String> {
        self.check_room(&component)?;
        let (service, before) = (component.service().to_owned(), self.components.clone());
        self.take(component, weight);
        let fault = self.fault(&service);
        if fault.is_some() {
            self.components = before;
        }
        fault.map_or(Ok(()), Err)
    }

    /// Why the routes of a stateless service that is here cannot be followed, in words.
    fn fault(&self, service: &str) -> Option<String> {
        let mut components: Vec<Component> = self.of(service).cloned().collect();
        // Shares are given when all are there.
        components.iter_mut().for_each(|component| component.set_weight(component.weight().max(1)));
        let alone = Known { components: &components, nodes: &Nodes::new(), deployed: &BTreeMap::new(), ..self.known() };
        let mut left_out = routes::plan(&alone).left_out.into_iter();
        left_out.find(|(name, _)| !self.left_out.contains_key(name)).map(|(_, reason)| reason)
    }

    /// Whether one more can be told to other nodes.
    fn check_room(&self, component: &Component) -> Result<(), String> {
        let others = || self.components.iter().filter(|other| other.manifest().id != component.manifest().id);
        if others().count() >= MAX_HOSTED {
            return Err(format!("this node runs {MAX_HOSTED} versions, and can run no more: remove one first"));
        }
        let manifests = others().map(|other| other.manifest_text().len()).sum::<usize>();
        let bytes = manifests + component.manifest_text().len();
        if bytes > MAX_HOSTED_BYTES {
            return Err(format!(
                "the manifests of this node's versions would have {bytes} bytes, the limit is {MAX_HOSTED_BYTES}: \
                 remove one first"
            ));
        }
        Ok(())
    }

    /// Takes a component in; one of its version goes.
    pub(super) fn take(&mut self, mut component: Component, weight: Option<u16>) {
        let id = component.manifest().id.to_string();
        self.components.retain(|other| other.manifest().id != component.manifest().id);
        self.kept.retain(|kept| kept.service != id);
        self.not_hosted.remove(&id);
        if let Some(weight) = weight {
            component.set_weight(weight);
        }
        self.components.push(component);
        self.components.sort_by(|one, other| one.manifest().id.cmp(&other.manifest().id));
    }

    /// A service of whose versions none has a share gives all of it to its highest one.
    pub(super) fn weigh_unweighed(&mut self) {
        for at in 0..self.components.len() {
            let id = self.components[at].manifest().id.clone();
            let mut same = self.components.iter().filter(|other| is_same_service(&other.manifest().id, &id));
            let has_share = same.clone().any(|component| component.weight() > 0);
            let is_highest = same.all(|other| routes::rank(&other.manifest().id) <= routes::rank(&id));
            if !has_share && is_highest {
                self.components[at].set_weight(WHOLE);
            }
        }
    }

    pub(super) fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Component> {
        self.components.iter().filter(move |component| component.service() == service)
    }

    pub(super) fn find(&self, id: &ServiceId) -> Option<&Component> {
        self.components.iter().find(|component| component.manifest().id == *id)
    }

    pub(super) fn find_version(&mut self, service: &str, version: &str) -> Option<&mut Component> {
        self.components.iter_mut().find(|component| component.is_version(service, version))
    }

    pub(super) fn unknown(&self, service: &str, version: &str) -> HttpError {
        let running: Vec<String> = self.of(service).map(|one| one.manifest().id.version.to_string()).collect();
        HttpError::unknown(service, version, &running)
    }

    /// What is to run after a restart.
    pub(super) fn deployments(&self) -> Vec<Deployment> {
        let mut all: Vec<Deployment> = self.components.iter().map(Deployment::of).chain(self.kept.clone()).collect();
        all.sort_by(|one, other| one.service.cmp(&other.service));
        all
    }

    /// What this node runs for itself, and the log did not give it.
    pub(super) fn own(&self) -> Vec<Component> {
        self.components.iter().filter(|component| component.in_log() == Position(0)).cloned().collect()
    }
}

pub(super) fn is_same_service(one: &ServiceId, other: &ServiceId) -> bool {
    (&one.namespace, &one.name) == (&other.namespace, &other.name)
}
