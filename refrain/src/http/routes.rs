//! From manifests to the front end's plan: services with their releases, and the routes to them.
//!
//! A service that runs in several versions has a release of each, with an upstream for each node that hosts it, and a share
//! of its requests for each, unless they name one by `x-refrain-version`. Routes of all versions count, each once. A service
//! whose part of the plan cannot be followed is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use refrain_front::plan::{MAX_ROUTES, MAX_SERVICES};
use refrain_front::{Endpoint as At, Health, Plan, Release, ReleaseLimits, Route, Service, Target, Upstream};
use refrain_service::{Manifest, Name, Route as Written, ServiceId};

use super::component::Component;
use super::nodes::Nodes;
use super::state::Problems;
use super::versions::{Deployments, Version, versions};
use crate::config::Endpoint;

/// What the front end waits longer than the host, so that the host's own answer is the one that a client gets.
const SLACK: Duration = Duration::from_secs(1);
/// Upstreams that are tried for a request that failed at one, where a version runs on several nodes.
const ATTEMPTS: u32 = 3;

/// What one client leaves to others of the requests that a component serves at once: one in so many.
const LEFT_TO_OTHERS: u32 = 8;
/// A client may have so many of a small one, even if these are all.
const LEAST_SHARE: u32 = 16;

/// What a plan is made of.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) components: &'a [Component],
    pub(super) nodes: &'a Nodes,
    pub(super) deployed: &'a Deployments,
    pub(super) routed: &'a [Arc<Manifest>],
    /// Where ports of replicated services listen, by `namespace/name` and port.
    pub(super) served: &'a BTreeMap<(String, String), Endpoint>,
}

impl Known<'_> {
    /// The versions of stateless services.
    pub(super) fn versions(&self) -> Vec<Version<'_>> {
        versions(self.components, self.nodes, self.deployed)
    }
}

/// A plan, and what it does without.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// By `namespace/name`, with the reason in words.
    pub(super) left_out: Problems,
    /// Services with a route that is never used, as another service has the same.
    pub(super) shadowed: Problems,
}

/// The plan for all that is known.
pub(super) fn plan(known: &Known<'_>) -> Planned {
    let mut planned = Planned::default();
    let mut names = BTreeSet::new();
    let mut taken = Taken::new();
    let versions = known.versions();
    for versions in versions.chunk_by(|one, other| one.service == other.service) {
        planned.take(&mut names, &mut taken, versions[0].service.clone(), stateless(versions, known.deployed));
    }
    for manifest in known.routed {
        planned.take(&mut names, &mut taken, service(manifest), routed(manifest, known.served));
    }
    planned
}

/// Which requests a route is for, in words, and the service that has it.
type Taken = BTreeMap<String, String>;

fn in_words(route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    let mut words =
        format!("{}{}{}{}", methods.join(","), if methods.is_empty() { "" } else { " " }, route.host, route.path);
    for (name, value) in &route.headers {
        words += &format!(" {name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    words
}

impl Planned {
    /// Takes in the part of one service, if it can be followed beside the others.
    fn take(&mut self, names: &mut BTreeSet<String>, taken: &mut Taken, of: String, part: Plan) {
        match fault(&self.plan, names, &part) {
            Some(reason) => drop(self.left_out.insert(of, reason)),
            None => {
                names.extend(part.services.iter().map(|service| service.name.clone()));
                for words in part.routes.iter().map(in_words) {
                    let first = taken.entry(words.clone()).or_insert_with(|| of.clone());
                    if *first != of {
                        let reason = format!("its route {words} is never used: {first} has the same");
                        self.shadowed.entry(of.clone()).or_insert(reason);
                    }
                }
                self.plan.services.extend(part.services);
                self.plan.routes.extend(part.routes);
            }
        }
    }
}

/// Why a part cannot be followed beside the others, in words.
fn fault(plan: &Plan, names: &BTreeSet<String>, part: &Plan) -> Option<String> {
    if let Err(fault) = part.validate() {
        return Some(fault.to_string());
    }
    if let Some(twice) = part.services.iter().find(|service| names.contains(&service.name)) {
        return Some(format!("another service is called {} as well", twice.name));
    }
    let routes = plan.routes.len() + part.routes.len();
    if routes > MAX_ROUTES {
        return Some(format!("all services together would have {routes} routes, the limit is {MAX_ROUTES}"));
    }
    let services = plan.services.len() + part.services.len();
    (services > MAX_SERVICES).then(|| format!("there would be {services} services, the limit is {MAX_SERVICES}"))
}

/// The part of a stateless service, of its versions.
fn stateless(versions: &[Version<'_>], deployed: &Deployments) -> Plan {
    let mut part = Plan::default();
    for version in versions {
        let upstreams = version.upstreams.clone();
        let attempts = if upstreams.len() > 1 { ATTEMPTS } else { 1 };
        let limits = ReleaseLimits { attempts, ..component_limits(version.manifest, version.places()) };
        add(&mut part, version.manifest, version.service.clone(), upstreams, limits);
    }
    let absent = absent(versions, deployed);
    if let Some(absent) = &absent {
        add_absent(&mut part, absent);
    }
    for version in versions {
        add_routes(&mut part, version.manifest, |_| shares(versions, absent.as_ref()));
    }
    part
}

/// The part of a replicated service, each of whose ports is a service to the front end.
fn routed(manifest: &Manifest, served: &BTreeMap<(String, String), Endpoint>) -> Plan {
    let mut part = Plan::default();
    for port in ports(manifest) {
        let at = served.get(&(service(manifest), port.to_string()));
        // The proxy counts connections of the front end as those of one client.
        let requests = manifest.limits.flows_per_client;
        let upstream = |at| Upstream { requests, ..Upstream::new(port.to_string(), upstream_at(at)) };
        let upstreams = at.map(upstream).into_iter().collect();
        add(&mut part, manifest, of_port(manifest, port), upstreams, ReleaseLimits::default());
    }
    add_routes(&mut part, manifest, |written| {
        let service = written.port.as_ref().map_or_else(|| service(manifest), |port| of_port(manifest, port));
        vec![Target { service, version: None, weight: 1, rewrite: None }]
    });
    part
}

/// Where all versions that are known were given no share by the log: one that has a share and is nowhere. Its requests
/// are answered with 503, and not by a version that is to get none.
fn absent(versions: &[Version<'_>], deployed: &Deployments) -> Option<semver::Version> {
    let deployment = deployed.get(&versions.first()?.service)?;
    let is_dark = versions.iter().all(|version| version.weight == 0 && version.is_in_log == Some(true));
    let release = deployment.releases.iter().find(|release| release.weight > 0)?;
    is_dark.then(|| release.version.parse().ok()).flatten()
}

fn add_absent(part: &mut Plan, version: &semver::Version) {
    let release =
        Release { version: version.clone(), upstreams: Vec::new(), limits: ReleaseLimits::default(), health: None };
    for service in &mut part.services {
        if service.releases.iter().all(|known| known.version != *version) {
            service.releases.push(release.clone());
        }
    }
}

/// The versions of a stateless service with their shares of its requests. Where none has a share, and none is absent
/// that has one, the highest has all.
fn shares(versions: &[Version<'_>], absent: Option<&semver::Version>) -> Vec<Target> {
    let highest = versions.iter().max_by(|one, other| rank(&one.manifest.id).cmp(&rank(&other.manifest.id)));
    let is_shared = versions.iter().any(|version| version.weight > 0);
    let weight = |version: &Version<'_>| match is_shared {
        true => version.weight,
        false if absent.is_some() => 0,
        false => u16::from(highest.is_some_and(|highest| highest.manifest.id == version.manifest.id)),
    };
    let target = |version: &Version<'_>, number: &semver::Version, weight| Target {
        service: version.service.clone(),
        version: Some(number.clone()),
        weight,
        rewrite: None,
    };
    let known =
        versions.iter().map(|version| target(version, version.manifest.id.version.as_semver(), weight(version)));
    let absent = absent.zip(versions.first()).map(|(number, version)| target(version, number, 1));
    known.chain(absent).collect()
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

/// `namespace/name`.
pub(super) fn service(manifest: &Manifest) -> String {
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

/// `places` are the requests that its instances serve at once.
fn component_limits(manifest: &Manifest, places: u32) -> ReleaseLimits {
    let http = &manifest.http;
    ReleaseLimits {
        client_requests: Some((places - places / LEFT_TO_OTHERS).max(LEAST_SHARE)),
        client_wait: http.queue_wait,
        body_bytes: http.request_body.get(),
        answer: http.queue_wait + http.deadline + SLACK,
        // The host's own limit holds, wherever the component runs: a stream of events may be silent.
        answer_idle: http.lifetime + SLACK,
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

/// A route that several versions have is there once, each of whose targets has its own version's rewrite; those of
/// versions that do not have it have that of the first.
fn add_routes(plan: &mut Plan, manifest: &Manifest, targets: impl Fn(&Written) -> Vec<Target>) {
    let version = Some(manifest.id.version.as_semver());
    let mut own = BTreeSet::new();
    for written in &manifest.routes {
        let Ok(route) = route(written, targets(written)) else { continue };
        let same = |other: &Route| {
            (&other.host, &other.path, &other.methods, &other.headers, &other.targets[0].service)
                == (&route.host, &route.path, &route.methods, &route.headers, &route.targets[0].service)
        };
        let index = plan.routes.iter().position(same).unwrap_or(plan.routes.len());
        if index == plan.routes.len() {
            plan.routes.push(route);
        } else if !own.contains(&index) {
            let targets = plan.routes[index].targets.iter_mut();
            let targets = targets.filter(|target| target.version.as_ref() == version);
            targets.for_each(|target| target.rewrite.clone_from(&written.rewrite));
        }
        own.insert(index);
    }
}

/// A route as the front end knows it; what is wrong with it, in words, when it is none.
fn route(written: &Written, mut targets: Vec<Target>) -> Result<Route, String> {
    targets.iter_mut().for_each(|target| target.rewrite.clone_from(&written.rewrite));
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
        targets,
    })
}

/// What is wrong with the routes of a manifest, in words; none when they can be followed.
pub(super) fn faults(manifest: &Manifest) -> Option<String> {
    let faults: Vec<String> = manifest.routes.iter().filter_map(|written| route(written, Vec::new()).err()).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

#[cfg(test)]
mod tests {
    use refrain_sequencer::shard::Deployment;
    use refrain_service::BundleDigest;
    use refrain_wire::control::Release as InLog;
    use refrain_wire::stream::{Hello, Role};
    use refrain_wire::{ClusterId, Generation, NodeId, Position};

    use super::super::hearing::There;
    use super::super::hosted::{Condition, Hosted};
    use super::super::nodes::{Node, NodeDial};
    use super::*;

    fn digest(bundle: u8) -> BundleDigest {
        BundleDigest::new([bundle; 32])
    }

    #[test]
    fn a_port_with_routes_takes_as_many_requests_as_its_service_takes_connections_of_a_client() {
        for (limits, expected) in [("", 20_000), ("flows = 7", 7), ("flows = 30000\nflows_per_client = 30000", 30_000)]
        {
            let manifest = Manifest::parse(&format!(
                "name = \"web\"\nversion = \"1.0.0\"\nmodule = \"web.wasm\"\n[limits]\n{limits}\n\
                 [[ports]]\nname = \"main\"\nguest = 80\nlisten = \"127.0.0.1:0\"\n[[routes]]\nport = \"main\"\n"
            ));
            let (manifest, at) = (manifest.unwrap(), "127.0.0.1:9".parse().unwrap());
            let served = [((service(&manifest), "main".to_owned()), at)].into();
            let part = routed(&manifest, &served);
            assert_eq!(part.services[0].releases[0].upstreams[0].requests, expected, "{limits}");
        }
    }

    #[test]
    fn as_many_routes_as_the_limit_are_followed_and_a_service_with_one_more_is_left_out() {
        let manifest = |name: &str, routes: usize| {
            let routes: String =
                (0..routes).map(|route| format!("[[routes]]\nport = \"main\"\npath = \"/{name}/{route}\"\n")).collect();
            let text = format!(
                "name = \"{name}\"\nversion = \"1.0.0\"\nmodule = \"web.wasm\"\n\
                 [[ports]]\nname = \"main\"\nguest = 80\nlisten = \"127.0.0.1:0\"\n{routes}"
            );
            Arc::new(Manifest::parse(&text).unwrap())
        };
        let mut routed: Vec<_> = (0..MAX_ROUTES / 64).map(|number| manifest(&format!("s{number}"), 64)).collect();
        let planned = |routed: &[Arc<Manifest>]| {
            let (nodes, deployed, served) = (Nodes::new(), Deployments::new(), BTreeMap::new());
            let planned = plan(&Known { components: &[], nodes: &nodes, deployed: &deployed, routed, served: &served });
            planned.plan.validate().unwrap();
            planned
        };
        let all = planned(&routed);
        assert_eq!((all.plan.routes.len(), all.left_out), (MAX_ROUTES, Problems::new()));
        routed.push(manifest("last", 1));
        let planned = planned(&routed);
        let reason = "all services together would have 4097 routes, the limit is 4096".to_owned();
        assert_eq!(
            (planned.plan.routes.len(), planned.left_out),
            (MAX_ROUTES, [("default/last".into(), reason)].into())
        );
    }

    /// What a version serves at once on a node, besides what waits.
    const REQUESTS: u32 = 40;

    /// What a node hosts: versions with their bundles and shares, and how they are.
    fn node(id: u64, hosts: &[(&str, u8, u16, Condition)]) -> (NodeId, Node) {
        let there = |(version, bundle, weight, condition): &(&str, u8, u16, Condition)| {
            let text = format!(
                "name = \"web\"\nnamespace = \"tests\"\nversion = \"{version}\"\nmodule = \"web.wasm\"\n\
                 kind = \"http\"\nmode = \"stateless\"\n[[routes]]\npath = \"/{version}/...\"\n"
            );
            let manifest = Arc::new(Manifest::parse(&text).unwrap());
            let (bundle, weight, condition) = (digest(*bundle), *weight, *condition);
            let (told, requests) = (bundle.to_string(), REQUESTS + manifest.http.queue);
            let hosted =
                Hosted { bundle: told, weight, requests, condition, in_log: 0, manifest: text.as_str().into() };
            (manifest.id.to_string(), There { hosted, bundle, manifest })
        };
        let hello = Hello::new(Role::Http, ClusterId([0; 16]), Generation([0; 16]), NodeId(1));
        let dial = Arc::new(NodeDial::new(NodeId(id), String::new(), hello));
        (NodeId(id), Node { dial, hosts: hosts.iter().map(there).collect(), followed: Position(0) })
    }

    fn planned(nodes: &Nodes, deployed: &Deployments) -> Plan {
        let known = Known { components: &[], nodes, deployed, routed: &[], served: &BTreeMap::new() };
        let Planned { plan, left_out, .. } = plan(&known);
        assert_eq!(left_out, Problems::new());
        plan.validate().unwrap();
        plan
    }

    #[test]
    fn a_client_leaves_an_eighth_of_the_places_of_a_component_to_others_and_has_sixteen_of_a_small_one() {
        let manifest = Manifest::parse(
            "name = \"web\"\nnamespace = \"tests\"\nversion = \"1.0.0\"\nmodule = \"web.wasm\"\n\
             kind = \"http\"\nmode = \"stateless\"\n",
        );
        let manifest = manifest.unwrap();
        for (places, expected) in [(0, 16), (1, 16), (18, 16), (24, 21), (1200, 1050), (19_200, 16_800)] {
            assert_eq!(component_limits(&manifest, places).client_requests, Some(expected), "{places}");
        }
    }

    #[test]
    fn the_places_of_a_component_are_those_of_one_node_that_takes_new_requests() {
        let nodes: Nodes = [
            node(1, &[("1.0.0", 1, 100, Ready)]),
            node(2, &[("1.0.0", 1, 100, Ready)]),
            node(3, &[("1.0.0", 1, 100, Draining)]),
        ]
        .into();
        let plan = planned(&nodes, &Deployments::new());
        assert_eq!(plan.services[0].releases[0].limits.client_requests, Some(REQUESTS - REQUESTS / 8));
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
    fn versions_with_one_route_have_a_rewrite_each() {
        let manifest = |version: &str, routes: &[(&str, &str)]| {
            let routes = routes.iter().map(|(path, to)| format!("[[routes]]\npath = \"{path}\"\nrewrite = \"{to}\"\n"));
            let text = format!(
                "name = \"web\"\nversion = \"{version}\"\nmodule = \"web.wasm\"\nkind = \"http\"\n\
                 mode = \"stateless\"\n{}",
                routes.collect::<String>()
            );
            Manifest::parse(&text).unwrap()
        };
        let manifests = [
            manifest("1.0.0", &[("/a/...", "/one"), ("/b/...", "/b1")]),
            manifest("1.1.0", &[("/a/...", "/two"), ("/a/...", "/never")]),
            manifest("1.2.0", &[("/a/...", "")]),
        ];
        let target = |manifest: &Manifest| Target {
            service: service(manifest),
            version: Some(manifest.id.version.as_semver().clone()),
            weight: 1,
            rewrite: None,
        };
        let mut part = Plan::default();
        for manifest in &manifests {
            add_routes(&mut part, manifest, |_| manifests.iter().map(target).collect());
        }
        let rewrites = |route: &Route| route.targets.iter().map(|of| of.rewrite.clone()).collect::<Vec<_>>();
        let all = |texts: [&str; 3]| texts.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty())).to_vec();
        let found: Vec<_> = part.routes.iter().map(rewrites).collect();
        assert_eq!(found, [all(["/one", "/two", ""]), all(["/b1", "/b1", "/b1"])]);
    }

    #[test]
    fn the_shares_of_a_service_that_is_in_the_log_are_those_of_the_log() {
        let nodes: Nodes = [node(1, &[("1.0.0", 1, 100, Ready), ("1.1.0", 2, 0, Ready)])].into();
        let release = |version: &str, weight| {
            let bundle = if version == "1.0.0" { 1 } else { 2 };
            InLog { version: version.into(), bundle: [bundle; 32], weight }
        };
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

    #[test]
    fn a_number_of_the_log_means_its_bundle_and_no_other() {
        let deployed = |version: &str, bundle, weight| {
            let releases = vec![InLog { version: version.into(), bundle: [bundle; 32], weight }];
            Deployments::from([("tests/web".to_owned(), Deployment { at: Position(7), releases })])
        };
        let nodes: Nodes = [
            node(1, &[("1.0.0", 1, 100, Ready)]),
            node(2, &[("1.0.0", 2, 100, Ready)]),
            node(3, &[("1.0.0", 1, 100, Ready)]),
        ]
        .into();
        let of =
            |deployed| shown(&planned(&nodes, &deployed)).into_iter().map(|(_, nodes, _)| nodes.join(", ")).collect();
        let (first, second): (Vec<String>, Vec<String>) =
            (of(deployed("1.0.0", 1, 100)), of(deployed("1.0.0", 2, 100)));
        assert_eq!((first, second), (vec!["node 1, node 3".to_owned()], vec!["node 2".to_owned()]));
        let neither = planned(&nodes, &deployed("1.0.0", 3, 100));
        assert_eq!(shown(&neither), [("1.0.0".to_owned(), vec!["node 1", "node 3"], 1)], "until the log's is there");
    }

    #[test]
    fn a_service_that_cannot_be_followed_is_left_out_and_the_others_are_not() {
        let part = |name: &str, path: &str| {
            let release = Release {
                version: semver::Version::new(1, 0, 0),
                upstreams: Vec::new(),
                limits: ReleaseLimits::default(),
                health: None,
            };
            let health = Some(Health { path: path.to_owned(), ..Health::default() });
            let service = Service { name: name.to_owned(), releases: vec![Release { health, ..release }] };
            Plan { services: vec![service], ..Plan::default() }
        };
        let (mut planned, mut names, mut taken) = (Planned::default(), BTreeSet::new(), Taken::new());
        let mut take = |name: &str, part: Plan| planned.take(&mut names, &mut taken, name.to_owned(), part);
        take("a/one", part("a/one", "/"));
        take("a/two", part("a/two", "no path"));
        take("a/three", part("a/one", "/"));
        take("a/four", part("a/four", "/"));
        let left: Vec<(&str, &str)> = planned.left_out.iter().map(|(of, why)| (of.as_str(), why.as_str())).collect();
        let path = "the plan has 1 faults: health of release a/two@1.0.0: \"no path\" is not a path";
        assert_eq!(left, [("a/three", "another service is called a/one as well"), ("a/two", path)]);
        assert_eq!(planned.plan.services.iter().map(|of| of.name.as_str()).collect::<Vec<_>>(), ["a/one", "a/four"]);
        planned.plan.validate().unwrap();
    }

    #[test]
    fn a_route_that_another_service_has_is_told_and_the_first_one_counts() {
        let part = |name: &str, paths: &[&str]| {
            let routes = paths.iter().map(|path| Route::to(path, name).unwrap()).collect();
            let version = semver::Version::new(1, 0, 0);
            let limits = ReleaseLimits::default();
            let release = Release { version, upstreams: Vec::new(), limits, health: None };
            let service = Service { name: name.to_owned(), releases: vec![release] };
            Plan { services: vec![service], routes, ..Plan::default() }
        };
        let (mut planned, mut names, mut taken) = (Planned::default(), BTreeSet::new(), Taken::new());
        for (name, paths) in [("a/one", ["/...", "/x"]), ("a/two", ["/...", "/y"]), ("a/three", ["/z", "/z"])] {
            planned.take(&mut names, &mut taken, name.to_owned(), part(name, &paths));
        }
        assert_eq!(planned.left_out, Problems::new());
        let told: Vec<(&str, &str)> = planned.shadowed.iter().map(|(of, why)| (of.as_str(), why.as_str())).collect();
        assert_eq!(told, [("a/two", "its route */... is never used: a/one has the same")]);
    }
}
