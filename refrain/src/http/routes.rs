//! From manifests to the front end's plan: services with their releases, and the routes to them.
//!
//! A service that runs in several versions has a release of each, and a share of its requests for each, unless they
//! name one by `x-refrain-version`. Routes of all versions count, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use refrain_front::{Endpoint as At, Plan, Release, ReleaseLimits, Route, Service, Target, Upstream};
use refrain_service::{Manifest, Name, Route as Written, ServiceId};

use super::component::Component;
use crate::config::Endpoint;

/// What the front end waits longer than the host, so that the host's own answer is the one that a client gets.
const SLACK: Duration = Duration::from_secs(1);

/// The plan for these. `served` tells where ports of replicated services listen, by full name and port.
pub(super) fn plan(
    components: &[Component],
    routed: &[Manifest],
    served: &BTreeMap<(String, String), Endpoint>,
) -> Plan {
    let mut plan = Plan::default();
    for component in components {
        let manifest = component.manifest();
        let http = &manifest.http;
        let requests = http.instances.saturating_mul(http.concurrency).saturating_add(http.queue);
        let upstream = Upstream { requests, ..Upstream::new("component", At::Handler(component.handler())) };
        add(&mut plan, manifest, component.service().to_owned(), vec![upstream], component_limits(manifest));
    }
    for component in components {
        add_routes(&mut plan, component.manifest(), |_| shares(components, component.service()));
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

/// The versions of a stateless service with their shares of its requests.
fn shares(components: &[Component], service: &str) -> Vec<Target> {
    let of = components.iter().filter(|component| component.service() == service);
    let target = |component: &Component| Target {
        service: service.to_owned(),
        version: Some(component.manifest().id.version.as_semver().clone()),
        weight: component.weight(),
    };
    of.map(target).collect()
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
        body_bytes: http.request_body.get(),
        answer: http.queue_wait + http.deadline + SLACK,
        total: Some(http.queue_wait + http.lifetime + SLACK),
        attempts: 1,
        ..ReleaseLimits::default()
    }
}

fn add(plan: &mut Plan, manifest: &Manifest, name: String, upstreams: Vec<Upstream>, limits: ReleaseLimits) {
    let release = Release { version: manifest.id.version.as_semver().clone(), upstreams, limits, health: None };
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
