//! From the head that a client sent to the head that an upstream gets, and the release that it goes to.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Version};

use crate::answer::Fault;
use crate::balance::ReleaseState;
use crate::edge::{self, Peer};
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
    let (index, host, uri) = find_route(parts, live, max_uri)?;
    let targets = &live.plan.routes[index].targets;
    let release = choose(live, targets, wanted.as_ref(), fastrand::u32(..))?;
    check_length(&parts.headers, release.plan.limits.body_bytes)?;
    parts.uri = uri;
    let is_http1 = parts.version == Version::HTTP_11;
    let upgrade = edge::clean_request(&mut parts.headers).filter(|_| is_http1 || is_websocket);
    if let Some(host) = &host
        && !parts.headers.contains_key(HOST)
    {
        parts.headers.insert(HOST, host.clone());
    }
    edge::set_forwarded(peer, &mut parts.headers, host.as_ref(), &live.plan.trusted);
    edge::set_trace(&mut parts.headers, fastrand::u128(..));
    join_cookies(&mut parts.headers);
    Ok(Prepared { release, upgrade })
}

/// The route's place in the plan, the host as a header, and the target for the upstream.
fn find_route(parts: &Parts, live: &Live, max_uri: usize) -> Result<(usize, Option<HeaderValue>, http::Uri), Fault> {
    let head = edge::check(parts, max_uri)?;
    let name = edge::host_name(head.host).unwrap_or("");
    match live.table.find(name, &head.path, &parts.method, &parts.headers) {
        Found::Route(index) => {
            let uri = target(&live.plan.routes[index], &head.path, parts.uri.query()).ok_or(Fault::UriInvalid)?;
            let host = match parts.headers.get(HOST) {
                Some(host) => Some(host.clone()),
                None if head.host.is_empty() => None,
                None => Some(HeaderValue::from_str(head.host).map_err(|_| Fault::HostInvalid)?),
            };
            Ok((index, host, uri))
        }
        Found::Methods(allow) => Err(Fault::MethodNotAllowed { allow }),
        Found::Nothing => Err(Fault::NoRoute),
    }
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
