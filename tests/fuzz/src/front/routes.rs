//! Patterns of routes, and the one that a request takes.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use refrain_front::trial::route;
use refrain_front::{
    Answering, Body, Endpoint, Handler, HostPattern, PathPattern, Plan, Release, ReleaseLimits, Route, Service,
    Upstream,
};

use crate::input::Input;

/// Most routes of a plan.
const MOST: usize = 8;

/// A pattern is written as it was read. The route that a request takes fits it, none fits when none is taken, and a more
/// literal one is never passed over.
pub fn http_routes(data: &[u8]) {
    let mut input = Input::new(data);
    let mut routes = Vec::new();
    for _ in 0..=input.below(MOST) {
        let (host, path) = (text(&mut input), text(&mut input));
        let (Ok(host), Ok(path)) = (host.parse::<HostPattern>(), path.parse::<PathPattern>()) else { continue };
        assert_eq!(host.to_string().parse(), Ok(host.clone()));
        assert_eq!(path.to_string().parse(), Ok(path.clone()));
        routes.push(Route { host, path, ..Route::to("/", &named(routes.len())).expect("a pattern") });
    }
    let (host, target) = (text(&mut input), text(&mut input));
    let version = input.short_piece();
    let plan = plan_of(routes.clone());
    if plan.validate().is_err() {
        return;
    }
    let (Ok(uri), Ok(host)) = (Uri::try_from(target), HeaderValue::from_str(&host)) else { return };
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri) = (Method::GET, uri);
    parts.headers.insert("host", host.clone());
    if let Some(version) = HeaderValue::from_bytes(version).ok().filter(|version| !version.is_empty()) {
        parts.headers.insert("x-refrain-version", version);
    }
    let found = route(&mut parts, IpAddr::from(Ipv4Addr::LOCALHOST), plan);
    let host = host.to_str().unwrap_or("");
    let path = parts.uri.path().to_owned();
    let fits = |route: &Route| fits_host(&route.host.to_string(), host) && fits_path(&route.path.to_string(), &path);
    match found {
        Ok(service) => {
            let taken = routes.iter().find(|route| route.targets[0].service == service).expect("one of them");
            assert!(fits(taken), "{} {} for {host} {path}", taken.host, taken.path);
            let is_exact =
                |route: &Route| route.host.to_string().eq_ignore_ascii_case(host) && route.path.to_string() == path;
            let exact = routes.iter().find(|route| is_exact(route));
            assert!(exact.is_none_or(|exact| exact.targets[0].service == service || is_exact(taken)));
        }
        // The path is not in its normal form here.
        Err("no-route") if !path.contains('%') && !path.contains("/.") => assert!(!routes.iter().any(fits)),
        Err(_) => {}
    }
}

fn text(input: &mut Input<'_>) -> String {
    String::from_utf8_lossy(input.short_piece()).into_owned()
}

/// The name in `host[:port]`.
fn name(host: &str) -> &str {
    let name = if host.starts_with('[') { host.split_inclusive(']').next() } else { host.split(':').next() };
    let name = name.unwrap_or("");
    name.strip_suffix('.').unwrap_or(name)
}

fn fits_host(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_ascii_lowercase(), name(host).to_ascii_lowercase());
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => host == pattern,
    }
}

fn fits_path(pattern: &str, path: &str) -> bool {
    let (wanted, given): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let (wanted, goes_on) = match wanted.split_last() {
        Some((&"...", before)) => (before, true),
        _ => (&wanted[..], false),
    };
    let fits = |(wanted, given): (&&str, &&str)| wanted == given || (wanted.starts_with('{') && !given.is_empty());
    let is_long = if goes_on { given.len() >= wanted.len() } else { given.len() == wanted.len() };
    is_long && path.starts_with('/') && wanted.iter().zip(&given).all(fits)
}

/// The service of the route at this place.
pub(super) fn named(place: usize) -> String {
    format!("fuzz/{place}")
}

/// A plan with these routes, whose services are nothing but there.
pub(super) fn plan_of(routes: Vec<Route>) -> Plan {
    let service =
        |place| Service { name: named(place), releases: vec![release(Endpoint::Handler(std::sync::Arc::new(Empty)))] };
    Plan { services: (0..routes.len()).map(service).collect(), routes, ..Plan::default() }
}

pub(super) fn release(endpoint: Endpoint) -> Release {
    Release {
        version: "1.0.0".parse().expect("a version"),
        upstreams: vec![Upstream::new("one", endpoint)],
        limits: ReleaseLimits::default(),
        health: None,
    }
}

struct Empty;

impl Handler for Empty {
    fn call(&self, _: Request<Body>) -> Answering {
        Box::pin(std::future::ready(Ok(http::Response::new(Body::from(Bytes::new())))))
    }
}
