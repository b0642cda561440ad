//! From manifests to the front end's plan: services with their releases, and the routes to them.
//!
//! A version of a stateless service has an upstream for each node that hosts it, this one first. A service that runs in several versions has a release of each, and a share of its requests for each, unless they
//! name one by `x-refrain-version`. Routes of all versions count, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use refrain_front::{Endpoint as At, Health, Plan, Release, ReleaseLimits, Route, Service, Target, Upstream};
use refrain_sequencer::shard::Deployment;
use refrain_service::{Manifest, Name, Route as Written, ServiceId};
use refrain_wire::NodeId;
use refrain_wire::control::Release as Logged;

use super::component::Component;
use super::nodes::Nodes;
use crate::config::Endpoint;

/// What the front end waits longer than the host, so that the host's own answer is the one that a client gets.
const SLACK: Duration = Duration::from_secs(1);

/// The name of the upstream of a release that is a component of this process.
pub(super) const HERE: &str = "component";
/// Upstreams that are tried for a request that failed at one, where a version runs on several nodes.
const ATTEMPTS: u32 = 3;

/// A client may have half of a component's instances; of a small one so many, even if these are all.
const LEAST_SHARE: u32 = 16;

/// Most requests at once that another node is believed to take.
const MAX_REQUESTS: u32 = 1 << 24;

/// A version of a stateless service, wherever it runs.
pub(super) struct Version<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) service: String,
    pub(super) bundle: String,
    pub(super) weight: u16,
    is_here: bool,
    upstreams: Vec<Upstream>,
}

/// The plan for these. `served` tells where ports of replicated services listen, by full name and port.
pub(super) fn plan(
    components: &[Component],
    nodes: &Nodes,
    deployed: &Deployments,
    routed: &[Manifest],
    served: &BTreeMap<(String, String), Endpoint>,
) -> Plan {
    let mut plan = Plan::default();
    let versions = versions(components, nodes, deployed);
    for version in &versions {
        let (manifest, upstreams) = (version.manifest, version.upstreams.clone());
        let attempts = if upstreams.len() > 1 { ATTEMPTS } else { 1 };
        let limits = ReleaseLimits { attempts, ..component_limits(manifest) };
        add(&mut plan, manifest, version.service.clone(), upstreams, limits);
    }
    for version in &versions {
        let absent = absent(&versions, deployed, &version.service);
        if let Some(absent) = &absent {
            add_absent(&mut plan, &version.service, absent);
        }
        add_routes(&mut plan, version.manifest, |_| shares(&versions, absent.as_ref(), &version.service));
    }
    for manifest in routed {
        for port in ports(manifest) {
            let at = served.get(&(manifest.id.to_string(), port.to_string()));
            let upstreams = at.map(|at| Upstream::new(port.to_string(), upstream_at(at))).into_iter().collect();
            add(&mut plan, manifest, of_port(manifest, port), upstreams, ReleaseLimits::default());
        }
        add_routes(&mut plan, manifest, |written| {
            let service = written.port.as_ref().map_or_else(|| service(manifest), |port| of_port(manifest, port));
            vec![Target { service, version: None, weight: 1 }]
        });
    }
    plan
}

/// Requests that a component takes at once, those that wait for an instance included.
pub(super) fn requests_at_once(manifest: &Manifest) -> u32 {
    let http = &manifest.http;
    http.instances.saturating_mul(http.concurrency).saturating_add(http.queue)
}

/// All versions that run here or elsewhere, by name and version. What runs here is as this node knows it; of what does
/// not, the node with the lowest number says what it is, and the highest share counts. Another bundle under the same
/// name and version is another program, and gets none of the requests. The shares of a service that is in the log are
/// those of the log.
pub(super) fn versions<'a>(components: &'a [Component], nodes: &'a Nodes, deployed: &Deployments) -> Vec<Version<'a>> {
    let mut versions: BTreeMap<&ServiceId, Version<'a>> = BTreeMap::new();
    for component in components {
        let requests = requests_at_once(component.manifest());
        let upstream = Upstream { requests, ..Upstream::new(HERE, At::Handler(component.handler())) };
        let version = Version {
            manifest: component.manifest(),
            service: component.service().to_owned(),
            bundle: component.digest().to_string(),
            weight: component.weight(),
            is_here: true,
            upstreams: vec![upstream],
        };
        versions.insert(&component.manifest().id, version);
    }
    for node in nodes.values() {
        for there in node.hosts.values() {
            let (manifest, hosted) = (&*there.manifest, &there.hosted);
            let version = versions.entry(&manifest.id).or_insert_with(|| Version {
                manifest,
                service: service(manifest),
                bundle: hosted.bundle.clone(),
                weight: 0,
                is_here: false,
                upstreams: Vec::new(),
            });
            if version.bundle != hosted.bundle {
                continue;
            }
            if !version.is_here {
                version.weight = version.weight.max(hosted.weight);
            }
            version.upstreams.push(Upstream {
                requests: hosted.requests.clamp(1, MAX_REQUESTS),
                is_draining: !there.is_ready(),
                ..Upstream::new(node_name(node.dial.node()), At::Inner(node.dial.clone()))
            });
        }
    }
    for (id, version) in &mut versions {
        if let Some(deployment) = deployed.get(&version.service) {
            version.weight = release(deployment, id).map_or(0, |release| release.weight);
        }
    }
    let mut versions: Vec<Version<'a>> = versions.into_values().collect();
    drop_undeployed(&mut versions, deployed);
    versions
}

/// Of a service that is in the log its versions there count alone, once one of them is known: others end.
fn drop_undeployed(versions: &mut Vec<Version<'_>>, deployed: &Deployments) {
    let is_deployed = |version: &Version<'_>| {
        deployed.get(&version.service).map(|deployment| release(deployment, &version.manifest.id).is_some())
    };
    let known: BTreeSet<String> = (versions.iter())
        .filter(|version| is_deployed(version) == Some(true))
        .map(|version| version.service.clone())
        .collect();
    versions.retain(|version| is_deployed(version) != Some(false) || !known.contains(&version.service));
}

/// What the log says, by `namespace/name`.
pub(super) type Deployments = BTreeMap<String, Deployment>;

/// What the log has of a version of the service.
pub(super) fn release<'a>(deployment: &'a Deployment, id: &ServiceId) -> Option<&'a Logged> {
    let version = id.version.to_string();
    deployment.releases.iter().find(|release| release.version == version)
}

/// The name of the upstream of a release that is on another node.
pub(super) fn node_name(node: NodeId) -> String {
    format!("node {node}")
}

/// Where all versions that are known were given no share by the log: one that has a share and is nowhere. Its requests
/// are answered with 503, and not by a version that is to get none.
fn absent(versions: &[Version<'_>], deployed: &Deployments, service: &str) -> Option<semver::Version> {
    let deployment = deployed.get(service)?;
    let is_in_log = |version: &Version<'_>| release(deployment, &version.manifest.id).is_some();
    let mut known = versions.iter().filter(|version| version.service == service);
    let is_dark = known.all(|version| version.weight == 0 && is_in_log(version));
    let release = deployment.releases.iter().find(|release| release.weight > 0)?;
    is_dark.then(|| release.version.parse().ok()).flatten()
}

fn add_absent(plan: &mut Plan, service: &str, version: &semver::Version) {
    let release =
        Release { version: version.clone(), upstreams: Vec::new(), limits: ReleaseLimits::default(), health: None };
    let known = plan.services.iter_mut().find(|known| known.name == service);
    if let Some(known) = known.filter(|known| known.releases.iter().all(|known| known.version != *version)) {
        known.releases.push(release);
    }
}

/// The versions of a stateless service with their shares of its requests. Where none has a share, and none is absent
/// that has one, the highest has all.
fn shares(versions: &[Version<'_>], absent: Option<&semver::Version>, service: &str) -> Vec<Target> {
    let of = || versions.iter().filter(|version| version.service == service);
    let highest = of().max_by(|one, other| rank(&one.manifest.id).cmp(&rank(&other.manifest.id)));
    let is_shared = of().any(|version| version.weight > 0);
    let target = |version: &Version<'_>| Target {
        service: service.to_owned(),
        version: Some(version.manifest.id.version.as_semver().clone()),
        weight: match is_shared {
            true => version.weight,
            false if absent.is_some() => 0,
            false => u16::from(highest.is_some_and(|highest| highest.manifest.id == version.manifest.id)),
        },
    };
    let absent =
        absent.map(|version| Target { service: service.to_owned(), version: Some(version.clone()), weight: 1 });
    of().map(target).chain(absent).collect()
}

/// Which of two versions is the one that a service's requests go to when nothing else is said: a higher one, but one
/// that is no pre-release before all that are.
pub(super) fn rank(id: &ServiceId) -> (bool, &semver::Version) {
    let version = id.version.as_semver();
    (version.pre.is_empty(), version)
}

/// The ports of a replicated service that routes lead to.
pub(super) fn ports(manifest: &Manifest) -> BTreeSet<&Name> {
    manifest.routes.iter().filter_map(|route| route.port.as_ref()).collect()
}

fn service(manifest: &Manifest) -> String {
    format!("{}/{}", manifest.id.namespace, manifest.id.name)
}

/// The ports of a replicated service are services of their own to the front end.
pub(super) fn of_port(manifest: &Manifest, port: &Name) -> String {
    format!("{}/{}-{port}", manifest.id.namespace, manifest.id.name)
}

fn upstream_at(at: &Endpoint) -> At {
    match at {
        Endpoint::Address(address) => At::Tcp(reachable(*address)),
        Endpoint::Path(path) => At::Unix(path.clone()),
    }
}

/// Who listens everywhere is reached by loopback.
fn reachable(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn component_limits(manifest: &Manifest) -> ReleaseLimits {
    let http = &manifest.http;
    ReleaseLimits {
        client_requests: Some((http.instances / 2).max(LEAST_SHARE)),
        client_wait: http.queue_wait,
        body_bytes: http.request_body.get(),
        answer: http.queue_wait + http.deadline + SLACK,
        total: Some(http.queue_wait + http.lifetime + SLACK),
        ..ReleaseLimits::default()
    }
}

fn add(plan: &mut Plan, manifest: &Manifest, name: String, upstreams: Vec<Upstream>, limits: ReleaseLimits) {
    let health = manifest.http.health.clone().map(|path| Health { path, ..Health::default() });
    let release = Release { version: manifest.id.version.as_semver().clone(), upstreams, limits, health };
    match plan.services.iter_mut().find(|service| service.name == name) {
        Some(service) => service.releases.push(release),
        None => plan.services.push(Service { name, releases: vec![release] }),
    }
}

fn add_routes(plan: &mut Plan, manifest: &Manifest, targets: impl Fn(&Written) -> Vec<Target>) {
    for written in &manifest.routes {
        let Ok(route) = route(written, targets(written)) else { continue };
        let same = |other: &Route| {
            (&other.host, &other.path, &other.methods, &other.headers, &other.targets[0].service)
                == (&route.host, &route.path, &route.methods, &route.headers, &route.targets[0].service)
        };
        if !plan.routes.iter().any(same) {
            plan.routes.push(route);
        }
    }
}

/// A route as the front end knows it; what is wrong with it, in words, when it is none.
fn route(written: &Written, targets: Vec<Target>) -> Result<Route, String> {
    let headers: Result<Vec<_>, String> = (written.headers.iter())
        .map(|(name, value)| {
            let wrong = || format!("routes.headers: {name} = {value:?} is no header");
            let name: HeaderName = name.parse().map_err(|_| wrong())?;
            Ok((name, HeaderValue::from_str(value).map_err(|_| wrong())?))
        })
        .collect();
    let methods: Result<Vec<Method>, String> = written
        .methods
        .iter()
        .map(|text| text.parse().map_err(|_| format!("routes.methods: {text:?} is none")))
        .collect();
    Ok(Route {
        host: written.host.parse().map_err(|error| format!("routes.host: {error}"))?,
        path: written.path.parse().map_err(|error| format!("routes.path: {error}"))?,
        methods: methods?,
        headers: headers?,
        rewrite: written.rewrite.clone(),
        targets,
    })
}

/// What is wrong with the routes of a manifest, in words; nothing when they can be followed.
pub(super) fn faults(manifest: &Manifest) -> Vec<String> {
    manifest.routes.iter().filter_map(|written| route(written, Vec::new()).err()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use refrain_wire::control::Release as InLog;
    use refrain_wire::stream::{Hello, Role};
    use refrain_wire::{ClusterId, Generation, Position};

    use super::super::hosted::{Condition, Hosted};
    use super::super::nodes::{Node, NodeDial, There};
    use super::*;

    /// What a node hosts: versions with their bundles and shares, and how they are.
    fn node(id: u64, hosts: &[(&str, u8, u16, Condition)]) -> (NodeId, Node) {
        let there = |(version, bundle, weight, condition): &(&str, u8, u16, Condition)| {
            let text = format!(
                "name = \"web\"\nnamespace = \"tests\"\nversion = \"{version}\"\nmodule = \"web.wasm\"\n\
                 kind = \"http\"\nmode = \"stateless\"\n[[routes]]\npath = \"/{version}/...\"\n"
            );
            let manifest = Arc::new(Manifest::parse(&text).unwrap());
            let (bundle, manifest_text) = (format!("{bundle:064}"), text.as_str().into());
            let (weight, condition) = (*weight, *condition);
            let hosted = Hosted { bundle, weight, requests: 9, condition, manifest: manifest_text };
            (manifest.id.to_string(), There { hosted, manifest })
        };
        let hello = Hello::new(Role::Http, ClusterId([0; 16]), Generation([0; 16]), NodeId(1));
        let dial = Arc::new(NodeDial::new(NodeId(id), String::new(), hello));
        (NodeId(id), Node { dial, hosts: hosts.iter().map(there).collect() })
    }

    fn planned(nodes: &Nodes, deployed: &Deployments) -> Plan {
        let plan = plan(&[], nodes, deployed, &[], &BTreeMap::new());
        plan.validate().unwrap();
        plan
    }

    #[test]
    fn a_client_may_have_half_of_the_instances_of_a_component_and_sixteen_of_a_small_one() {
        for (instances, expected) in [(1, 16), (33, 16), (34, 17), (8192, 4096)] {
            let text = format!(
                "name = \"web\"\nnamespace = \"tests\"\nversion = \"1.0.0\"\nmodule = \"web.wasm\"\n\
                 kind = \"http\"\nmode = \"stateless\"\n[http]\ninstances = {instances}\n"
            );
            let limits = component_limits(&Manifest::parse(&text).unwrap());
            assert_eq!(limits.client_requests, Some(expected), "{instances}");
        }
    }

    /// The upstreams of each version that take new requests, and the shares of the first route.
    fn shown(plan: &Plan) -> Vec<(String, Vec<&str>, u16)> {
        let releases = plan.services.iter().flat_map(|service| &service.releases);
        releases
            .map(|release| {
                let upstreams = release.upstreams.iter().filter(|upstream| !upstream.is_draining);
                let targets = plan.routes[0].targets.iter();
                let share = targets.filter(|target| target.version.as_ref() == Some(&release.version));
                let names = upstreams.map(|upstream| upstream.name.as_str()).collect();
                (release.version.to_string(), names, share.map(|target| target.weight).sum())
            })
            .collect()
    }

    use Condition::{Draining, Ready, Waiting};

    #[test]
    fn a_version_is_where_nodes_host_it_and_has_the_highest_of_their_shares() {
        let nodes: Nodes = [
            node(1, &[("1.0.0", 1, 90, Ready), ("1.1.0", 2, 0, Ready)]),
            node(2, &[("1.0.0", 1, 100, Draining), ("1.1.0", 2, 10, Ready)]),
            node(3, &[("1.0.0", 1, 100, Waiting), ("1.1.0", 3, 100, Ready)]),
        ]
        .into();
        let plan = planned(&nodes, &Deployments::new());
        let expected = [("1.0.0".to_owned(), vec!["node 1"], 100), ("1.1.0".to_owned(), vec!["node 1", "node 2"], 10)];
        assert_eq!(shown(&plan), expected, "another bundle is another program");
        assert_eq!(plan.routes.len(), 2, "routes of all versions");
    }

    #[test]
    fn the_shares_of_a_service_that_is_in_the_log_are_those_of_the_log() {
        let nodes: Nodes = [node(1, &[("1.0.0", 1, 100, Ready), ("1.1.0", 2, 0, Ready)])].into();
        let release = |version: &str, weight| InLog { version: version.into(), bundle: [0; 32], weight };
        let deployed =
            |releases| Deployments::from([("tests/web".to_owned(), Deployment { at: Position(7), releases })]);
        let shares = |releases| -> Vec<u16> {
            shown(&planned(&nodes, &deployed(releases))).into_iter().map(|(_, _, share)| share).collect()
        };
        assert_eq!(shares(vec![release("1.0.0", 1), release("1.1.0", 9)]), [1, 9]);
        assert_eq!(shares(vec![release("1.1.0", 9)]), [9], "it ends there as well, soon");
        assert_eq!(shares(vec![release("1.2.0", 9)]), [0, 1], "somebody has to answer until it is there");
        let dark = vec![release("1.1.0", 0), release("1.2.0", 9)];
        assert_eq!(shares(dark), [0, 1], "one that is to get nothing gets nothing, though the other is nowhere yet");
    }
}
