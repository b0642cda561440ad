//! From manifests to the front end's plan: services with their releases, and the routes to them.
//!
//! A service that is given in several versions has a release of each; requests go to the highest one that is no
//! pre-release unless they name another by `x-refrain-version`. Routes of all versions count, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use refrain_front::{Endpoint as At, Plan, Release, ReleaseLimits, Route, Service, Target, Upstream};
use refrain_service::{Manifest, Route as Written};

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
        let upstream = Upstream {
            requests: manifest
                .http
                .instances
                .saturating_mul(manifest.http.concurrency)
                .saturating_add(manifest.http.queue),
            ..Upstream::new("component", At::Handler(component.handler()))
        };
        add(&mut plan, manifest, service(manifest), vec![upstream], component_limits(manifest));
        add_routes(&mut plan, manifest);
    }
    for manifest in routed {
        let ports: BTreeSet<_> = manifest.routes.iter().filter_map(|route| route.port.as_ref()).collect();
        for port in ports {
            let at = served.get(&(manifest.id.to_string(), port.to_string()));
            let upstreams = at.map(|at| Upstream::new(port.to_string(), upstream_at(at))).into_iter().collect();
            add(&mut plan, manifest, of_port(manifest, port), upstreams, ReleaseLimits::default());
        }
        add_routes(&mut plan, manifest);
    }
    plan
}

fn service(manifest: &Manifest) -> String {
    format!("{}/{}", manifest.id.namespace, manifest.id.name)
}

/// The ports of a replicated service are services of their own to the front end.
fn of_port(manifest: &Manifest, port: &refrain_service::Name) -> String {
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

fn add_routes(plan: &mut Plan, manifest: &Manifest) {
    for written in &manifest.routes {
        let target = written.port.as_ref().map_or_else(|| service(manifest), |port| of_port(manifest, port));
        let Ok(route) = route(written, target) else { continue };
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
pub(super) fn route(written: &Written, service: String) -> Result<Route, String> {
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
        targets: vec![Target { service, version: None, weight: 1 }],
    })
}

/// What is wrong with the routes of a manifest, in words; nothing when they can be followed.
pub(super) fn faults(manifest: &Manifest) -> Vec<String> {
    manifest.routes.iter().filter_map(|written| route(written, service(manifest)).err()).collect()
}

/// Where a service is found, for people.
pub(super) fn line(manifest: &Manifest, bases: &[String]) -> String {
    let kind = if manifest.mode == refrain_service::Mode::Stateless { "http, stateless" } else { "http" };
    if manifest.routes.is_empty() {
        return format!("not serving {} ({kind}): its manifest has no [[routes]]", manifest.id);
    }
    let at = |route: &Written| {
        let base = bases.first().map_or("nowhere", String::as_str);
        let base = if route.host == "*" { base.to_owned() } else { format!("{base} (host {})", route.host) };
        format!("{base}{}", route.path)
    };
    let all: Vec<String> = manifest.routes.iter().map(at).collect();
    format!("serving {} ({kind}) on {}", manifest.id, all.join(", "))
}
