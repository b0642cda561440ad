//! One head, as a parser leaves it, on its way to an upstream.

use std::net::{IpAddr, Ipv4Addr};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use refrain_front::trial::route;
use refrain_front::{Plan, Route};

use super::contract;
use super::routes::{named, plan_of};
use crate::input::Input;

/// Names that mean something to the front end; a fuzzer finds the others by itself.
const NAMES: [&str; 24] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "expect",
    "te",
    "upgrade",
    "cookie",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x_forwarded_for",
    "x-real-ip",
    "x-request-id",
    "x_request_id",
    "traceparent",
    "tracestate",
    "x-refrain-version",
    "x-refrain-error",
    "x_refrain_version",
    "proxy-authorization",
    "http2-settings",
    "keep-alive",
];
const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::OPTIONS, Method::HEAD];
const VERSIONS: [Version; 3] = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];

/// What is passed on keeps the contract, and is not changed when it passes a second time.
pub fn http_head(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(mut parts) = parts(&mut input) else { return };
    let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
    let Ok(_) = route(&mut parts, peer, plan()) else { return };
    assert_eq!(contract::fault(&parts), None);
    let headers = parts.headers.clone();
    let target = parts.uri.clone();
    assert_eq!(route(&mut parts, peer, plan()).as_deref(), Ok("fuzz/0"), "{target}");
    // The node of a trusted peer is added each time, and a host that the client did not name the second time.
    let host = (!headers.contains_key("x-forwarded-host")).then_some("x-forwarded-host");
    let without = |mut headers: HeaderMap| {
        for name in ["forwarded", "x-forwarded-for"].into_iter().chain(host) {
            headers.remove(name);
        }
        headers
    };
    assert_eq!((parts.uri, without(parts.headers)), (target, without(headers)));
}

fn plan() -> Plan {
    Plan {
        trusted: vec!["127.0.0.0/8".parse().expect("a range")],
        ..plan_of(vec![Route::to("/...", &named(0)).expect("a pattern")])
    }
}

fn parts(input: &mut Input<'_>) -> Option<Parts> {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.version = VERSIONS[input.below(VERSIONS.len())];
    parts.method = match input.below(METHODS.len() + 1) {
        known if known < METHODS.len() => METHODS[known].clone(),
        _ => Method::from_bytes(input.short_piece()).ok()?,
    };
    parts.uri = Uri::try_from(input.short_piece()).ok()?;
    while !input.is_empty() {
        let name = match input.below(NAMES.len() + 8) {
            known if known < NAMES.len() => HeaderName::from_static(NAMES[known]),
            _ => HeaderName::from_bytes(input.short_piece()).ok()?,
        };
        parts.headers.append(name, HeaderValue::from_bytes(input.short_piece()).ok()?);
    }
    Some(parts)
}
