//! What the front end promises of every request that it passes on.

use http::header::{CONNECTION, EXPECT, HOST, HeaderName, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;

/// Headers of one connection, and what the front end takes for itself.
const GONE: [HeaderName; 6] = [
    EXPECT,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];
/// What it says itself, once.
const SET: [&str; 5] = ["forwarded", "traceparent", "x-forwarded-for", "x-forwarded-proto", "x-request-id"];

/// The first promise that is broken.
pub(super) fn fault(parts: &Parts) -> Option<String> {
    let (uri, headers) = (&parts.uri, &parts.headers);
    let count = |name: &HeaderName| headers.get_all(name).iter().count();
    let is_origin = uri.scheme().is_none() && uri.authority().is_none() && uri.path().starts_with('/');
    if !is_origin || uri.path().split('/').any(|part| matches!(part, "." | "..")) {
        return Some(format!("the target {uri}"));
    }
    if count(&HOST) > 1 || (count(&HOST) == 0 && parts.version != http::Version::HTTP_10) {
        return Some(format!("{} hosts", count(&HOST)));
    }
    if let Some(name) = GONE.iter().find(|name| headers.contains_key(*name)) {
        return Some(format!("{name} is there"));
    }
    // An upgrade that was asked for goes on, alone.
    let hops = [&CONNECTION, &UPGRADE].map(count);
    if hops != [0, 0] && (hops != [1, 1] || headers[CONNECTION] != "upgrade") {
        return Some(format!("{:?} is there", headers.get(CONNECTION)));
    }
    if headers.get_all(TE).iter().any(|value| value != "trailers") {
        return Some("te asks for more than trailers".into());
    }
    let is_own = |name: &HeaderName| name.as_str().replace('_', "-").starts_with("x-refrain-");
    if let Some(name) = headers.keys().find(|name| is_own(name)) {
        return Some(format!("{name} is there"));
    }
    let missing = SET.iter().find(|name| count(&HeaderName::from_static(name)) != 1);
    missing.map(|name| format!("{name} is not there once"))
}
