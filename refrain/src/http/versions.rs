//! Which versions of stateless services there are, on this node and on others, and which share of requests each has.
//!
//! A version is a number and a bundle: another bundle under the same name and number is another program. Of those that
//! have one number the one that the log has counts, else that of this node, else that of the node with the lowest number;
//! others get no requests.

use std::collections::{BTreeMap, BTreeSet};

use refrain_front::{Endpoint, Upstream};
use refrain_sequencer::shard::Deployment;
use refrain_service::{BundleDigest, Manifest, ServiceId};
use refrain_wire::NodeId;
use refrain_wire::control::Release;

use super::component::Component;
use super::hearing::There;
use super::nodes::{Node, Nodes};

/// The name of the upstream of a release that is a component of this process.
pub(super) const HERE: &str = "component";
/// Most requests at once that another node is believed to take.
const MAX_REQUESTS: u32 = 1 << 24;

/// What the log says, by `namespace/name`.
pub(super) type Deployments = BTreeMap<String, Deployment>;

/// A version of a stateless service, wherever it runs.
pub(super) struct Version<'a> {
    pub(super) manifest: &'a Manifest,
    /// `namespace/name`.
    pub(super) service: String,
    pub(super) bundle: BundleDigest,
    /// As its nodes have it, or the log.
    pub(super) weight: u16,
    /// Whether the log has it; none when it does not have the service.
    pub(super) is_in_log: Option<bool>,
    pub(super) upstreams: Vec<Upstream>,
    is_here: bool,
}

impl<'a> Version<'a> {
    fn new(manifest: &'a Manifest, bundle: BundleDigest, deployed: &Deployments) -> Self {
        let service = format!("{}/{}", manifest.id.namespace, manifest.id.name);
        let logged = deployed.get(&service).map(|deployment| release(deployment, &manifest.id, bundle));
        Self {
            manifest,
            bundle,
            weight: logged.flatten().map_or(0, |release| release.weight),
            is_in_log: logged.map(|release| release.is_some()),
            upstreams: Vec::new(),
            is_here: false,
            service,
        }
    }

    fn runs_here(&mut self, component: &Component) {
        let (requests, queue) = (component.requests_at_once(), component.manifest().http.queue);
        self.is_here = true;
        let endpoint = Endpoint::Handler(component.handler());
        self.upstreams.push(Upstream { requests, queue, ..Upstream::new(HERE, endpoint) });
        if self.is_in_log.is_none() {
            self.weight = component.weight();
        }
    }

    fn runs_there(&mut self, node: &Node, there: &There) {
        if self.is_in_log.is_none() && !self.is_here {
            self.weight = self.weight.max(there.hosted.weight);
        }
        let requests = there.hosted.requests.clamp(1, MAX_REQUESTS);
        self.upstreams.push(Upstream {
            requests,
            queue: there.manifest.http.queue.min(requests - 1),
            is_draining: !there.is_ready(),
            ..Upstream::new(node_name(node.dial.node()), Endpoint::Inner(node.dial.clone()))
        });
    }

    /// Requests that its instances serve at once, on the node with the most of those that take new ones: each front end
    /// counts a client's requests for itself, and prefers its own node.
    pub(super) fn places(&self) -> u32 {
        let taking = self.upstreams.iter().filter(|upstream| !upstream.is_draining);
        let places = taking.map(|upstream| upstream.requests - upstream.queue);
        places.max().unwrap_or(0).min(MAX_REQUESTS)
    }
}

/// All versions that run here or elsewhere, by name and version. What runs here is as this node knows it; of what does
/// not, the highest share counts. The shares of a service that is in the log are those of the log.
pub(super) fn versions<'a>(components: &'a [Component], nodes: &'a Nodes, deployed: &Deployments) -> Vec<Version<'a>> {
    let mut by_number: BTreeMap<&ServiceId, Vec<Version<'a>>> = BTreeMap::new();
    let mut find = |manifest: &'a Manifest, bundle, add: &dyn Fn(&mut Version<'a>)| {
        let same = by_number.entry(&manifest.id).or_default();
        let at = same.iter().position(|version| version.bundle == bundle).unwrap_or(same.len());
        if at == same.len() {
            same.push(Version::new(manifest, bundle, deployed));
        }
        add(&mut same[at]);
    };
    for component in components {
        find(component.manifest(), component.digest(), &|version| version.runs_here(component));
    }
    for node in nodes.values() {
        for there in node.hosts.values() {
            find(&there.manifest, there.bundle, &|version| version.runs_there(node, there));
        }
    }
    let chosen = by_number.into_values().map(|mut same| {
        let logged = same.iter().position(|version| version.is_in_log == Some(true));
        same.swap_remove(logged.unwrap_or(0))
    });
    let mut versions = chosen.collect();
    drop_undeployed(&mut versions);
    versions
}

/// Of a service that is in the log its versions there count alone, once one of them is known: others end.
fn drop_undeployed(versions: &mut Vec<Version<'_>>) {
    let known = versions.iter().filter(|version| version.is_in_log == Some(true));
    let known: BTreeSet<String> = known.map(|version| version.service.clone()).collect();
    versions.retain(|version| version.is_in_log != Some(false) || !known.contains(&version.service));
}

/// What the log has of a version of the service, if it is this bundle.
pub(super) fn release<'a>(deployment: &'a Deployment, id: &ServiceId, bundle: BundleDigest) -> Option<&'a Release> {
    let version = id.version.to_string();
    let is_it = |release: &&Release| release.version == version && release.bundle == *bundle.as_bytes();
    deployment.releases.iter().find(is_it)
}

/// The name of the upstream of a release that is on another node.
pub(super) fn node_name(node: NodeId) -> String {
    format!("node {node}")
}
