//! The rules of `[[routes]]` and `[http]`, and what stateless services have none of.

use std::time::Duration;

use toml::de::DeValue;

use super::{count, size};
use crate::bounds::{self, Bound};
use crate::document::Section;
use crate::http::{Http, Route};
use crate::manifest::{Kind, Mode};
use crate::names::Name;
use crate::outbound::Protocol;
use crate::port::Port;
use crate::value::{bounded_text, cpu_limit, duration, list, method, parsed, reuse, text, unsigned, within};

/// What is of services that listen on sockets alone.
const REPLICATED_ALONE: [&str; 8] = ["replicas", "agreement", "args", "outbound", "ports", "files", "restart", "ready"];

/// What of `[limits]` is of replicas and of connections: components are limited by `[http]`.
const LIMITS_REPLICATED_ALONE: [&str; 11] = [
    "files",
    "inodes",
    "fuel_per_turn",
    "flows",
    "flows_per_client",
    "descriptors",
    "socket_buffer",
    "socket_buffers",
    "idle",
    "log_lines_per_second",
    "history",
];

/// A component of `wasi:http` is stateless, and what is stateless is one.
pub(super) fn kind_and_mode(root: &Section<'_>, limits: Option<&Section<'_>>, kind: Kind, mode: Mode) {
    match (kind, mode) {
        (Kind::Http, Mode::Replicated) => {
            root.fault("mode", "a service of kind http is stateless: write mode = \"stateless\"");
        }
        (Kind::Tcp, Mode::Stateless) => root.fault("mode", "only services of kind http are stateless"),
        (Kind::Tcp, Mode::Replicated) => {
            if root.has("http") {
                root.fault("http", "only services of kind http have it");
            }
        }
        (Kind::Http, Mode::Stateless) => {
            for key in REPLICATED_ALONE.into_iter().filter(|key| root.has(key)) {
                root.fault(key, "a stateless service has none");
            }
            if let Some(limits) = limits {
                for key in LIMITS_REPLICATED_ALONE.into_iter().filter(|key| limits.has(key)) {
                    limits.outdated(
                        key,
                        "does nothing for a stateless service, whose limits are memory, tables, outward and [http]",
                    );
                }
            }
        }
    }
}

pub(super) fn routes(root: &Section<'_>, kind: Kind, ports: &[Port]) -> Vec<Route> {
    let sections = root.sections("routes", "routes[]");
    if sections.len() > bounds::ROUTES_MAX {
        root.fault("routes", format!("{} routes, the limit is {}", sections.len(), bounds::ROUTES_MAX));
    }
    sections.iter().take(bounds::ROUTES_MAX).map(|section| route(section, kind, ports)).collect()
}

fn route(section: &Section<'_>, kind: Kind, ports: &[Port]) -> Route {
    section.refuse_unknown();
    let short = |value| bounded_text(value, bounds::ROUTE_TEXT_BYTES_MAX);
    Route {
        host: section.read("host", "*".to_owned(), short),
        path: section.read("path", "/...".to_owned(), short),
        methods: section.read("methods", Vec::new(), |value| list(value, "method", bounds::ROUTE_METHODS_MAX, method)),
        headers: headers(section),
        rewrite: section.read("rewrite", None, |value| short(value).map(|text| Some(text).filter(|it| !it.is_empty()))),
        port: port(section, kind, ports),
    }
}

fn headers(route: &Section<'_>) -> Vec<(String, String)> {
    let Some(section) = route.inner("headers", "routes[].headers") else { return Vec::new() };
    let mut all = Vec::new();
    for (key, value) in section.entries() {
        match text(value) {
            Ok(value) => all.push((key.to_owned(), value.to_owned())),
            Err(problem) => section.fault(key, problem),
        }
    }
    if all.len() > bounds::ROUTE_HEADERS_MAX {
        route.fault("headers", format!("{} headers, the limit is {}", all.len(), bounds::ROUTE_HEADERS_MAX));
    }
    all
}

fn port(section: &Section<'_>, kind: Kind, ports: &[Port]) -> Option<Name> {
    if kind == Kind::Http {
        if section.has("port") {
            section.fault("port", "a service of kind http has no ports");
        }
        return None;
    }
    let name = section.require("port", parsed::<Name>)?;
    let known = ports.iter().any(|port| port.name == name && port.protocol == Protocol::Tcp);
    if !known {
        section.fault("port", "no port of tcp has this name");
    }
    Some(name)
}

/// Nothing, or a path without a query.
fn health(value: &DeValue<'_>) -> Result<Option<String>, String> {
    let path = bounded_text(value, bounds::ROUTE_TEXT_BYTES_MAX)?;
    // RFC 3986, section 3.3, without escapes; dot segments are for clients to resolve.
    let is_of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    let has_dots = path.split('/').any(|part| matches!(part, "." | ".."));
    let is_path = path.starts_with('/') && path.bytes().all(is_of_path) && !has_dots;
    match (path.is_empty(), is_path) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(path)),
        (false, false) => Err("allowed: a path such as /__health, without a query, escapes or dot segments".to_owned()),
    }
}

fn instances(section: Option<&Section<'_>>) -> u32 {
    let bound = bounds::HTTP_INSTANCES;
    let read = |section: &Section<'_>| {
        section.read("instances", bound.default, |value| {
            let number = unsigned(value)?;
            match within(number, bound) {
                Err(problem) if number > bound.max && number <= bounds::HTTP_INSTANCES_ONCE => {
                    section.outdated("instances", problem);
                    Ok(bound.max)
                }
                read => read,
            }
        })
    };
    u32::try_from(section.map_or(bound.default, read)).expect("its bound fits 32 bits")
}

pub(super) fn http(section: Option<&Section<'_>>) -> Http {
    if let Some(section) = section {
        section.refuse_unknown();
    }
    let count = |key, bound| count(section, key, bound);
    let size = |key, bound| size(section, key, bound);
    let time = |key, bound: Bound<Duration>| {
        section.map_or(bound.default, |s| s.read(key, bound.default, |value| duration(value, bound)))
    };
    let least = u32::try_from(bounds::HTTP_REUSE.default).expect("it is 1");
    Http {
        instances: instances(section),
        concurrency: count("concurrency", bounds::HTTP_CONCURRENCY),
        queue: count("queue", bounds::HTTP_QUEUE),
        queue_wait: time("queue_wait", bounds::HTTP_QUEUE_WAIT),
        reuse: section.map_or((least, least), |s| s.read("reuse", (least, least), reuse)),
        deadline: time("deadline", bounds::HTTP_DEADLINE),
        lifetime: time("lifetime", bounds::HTTP_LIFETIME),
        cpu: section.and_then(|s| s.read("cpu", None, cpu_limit)),
        request_body: size("request_body", bounds::HTTP_REQUEST_BODY),
        response_body: size("response_body", bounds::HTTP_RESPONSE_BODY),
        health: section.and_then(|s| s.read("health", None, health)),
        outgoing: section.map_or_else(Vec::new, |s| {
            s.read("outgoing", Vec::new(), |value| {
                list(value, "destination", bounds::OUTBOUND_MAX, |item| {
                    bounded_text(item, bounds::ROUTE_TEXT_BYTES_MAX)
                })
            })
        }),
    }
}
