//! From the head that a client sent to the head that an upstream gets, and the release that it goes to.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Version};

use crate::answer::Fault;
use crate::balance::ReleaseState;
use crate::edge::{self, Head, Peer};
use crate::live::Live;
use crate::route::{Found, Wanted, choose, target};

/// A request that may go on.
pub(crate) struct Prepared {
    pub(crate) release: Arc<ReleaseState>,
    /// The protocol that the client wants to change to.
    pub(crate) upgrade: Option<HeaderValue>,
}

/// Changes the head in place. On a fault it may be changed in part, and must not be used.
pub(crate) fn prepare(parts: &mut Parts, peer: &Peer, live: &Live, max_uri: usize) -> Result<Prepared, Fault> {
    let is_websocket = edge::take_websocket(parts, fastrand::u128(..));
    let wanted = edge::take_version(&mut parts.headers)?.map(|value| Wanted::parse(&value)).transpose()?;
    let head = edge::check(parts, max_uri)?;
    let (host, path) = (host_of(&head, parts)?, head.path.into_owned());
    // A route may depend on them: what the client says of itself must not count there either.
    edge::set_forwarded(peer, &mut parts.headers, host.as_ref(), &live.plan.trusted);
    let route = &live.plan.routes[find_route(parts, host.as_ref(), &path, live)?];
    let release = choose(live, &route.targets, wanted.as_ref(), fastrand::u32(..))?;
    let rewrite = route.rewrite(&release.service, &release.plan.version);
    let uri = target(&route.path, rewrite, &path, parts.uri.query()).ok_or(Fault::UriInvalid)?;
    check_length(&parts.headers, release.plan.limits.body_bytes)?;
    parts.uri = uri;
    let is_http1 = parts.version == Version::HTTP_11;
    let upgrade = edge::clean_request(&mut parts.headers).filter(|_| is_http1 || is_websocket);
    if !parts.headers.contains_key(HOST) {
        // One who speaks HTTP/1.0 may name none, and upstreams want one.
        parts.headers.insert(HOST, host.unwrap_or_else(|| HeaderValue::from_static("localhost")));
    }
    edge::set_trace(&mut parts.headers, fastrand::u128(..));
    join_cookies(&mut parts.headers);
    Ok(Prepared { release, upgrade })
}

/// What the client asks for, as a header.
fn host_of(head: &Head<'_>, parts: &Parts) -> Result<Option<HeaderValue>, Fault> {
    match parts.headers.get(HOST) {
        Some(host) => Ok(Some(host.clone())),
        None if head.host.is_empty() => Ok(None),
        None => HeaderValue::from_str(head.host).map(Some).map_err(|_| Fault::HostInvalid),
    }
}

/// The route's place in the plan. A server that reads the path otherwise must not be given what another route is for.
fn find_route(parts: &Parts, host: Option<&HeaderValue>, path: &str, live: &Live) -> Result<usize, Fault> {
    let name = host.and_then(|host| host.to_str().ok()).and_then(edge::host_name).unwrap_or("");
    let find = |path: &str| live.table.find(name, path, &parts.method, &parts.headers);
    let index = match find(path) {
        Found::Route(index) => index,
        Found::Methods(allow) => return Err(Fault::MethodNotAllowed { allow }),
        Found::Nothing => return Err(Fault::NoRoute),
    };
    let leads_here = |path: &String| find(path) == Found::Route(index);
    if edge::other_readings(path).iter().all(leads_here) { Ok(index) } else { Err(Fault::PathAmbiguous) }
}

/// A body that says itself that it is too long is not begun.
fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), Fault> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) { Err(Fault::BodyTooLarge) } else { Ok(()) }
}

/// HTTP/2 may cut the cookies up; HTTP/1.1 may not (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Whose limits a request counts against, if not its peer's.
pub(crate) fn client_behind(peer: &Peer, headers: &HeaderMap, live: &Live) -> Option<IpAddr> {
    let client = edge::client_of(peer, headers, &live.plan.trusted);
    (client != peer.address).then_some(client)
}
