//! Headers that end at the front end: those of one connection (RFC 9110, section 7.6.1), and our own.
//!
//! A CGI-like server cannot tell `_` from `-` in a name, so what the edge owns goes in every spelling but the right one.

use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, SET_COOKIE,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::answer::{ERROR_HEADER, Fault};

/// Names the version of the service that the client wants.
const VERSION: HeaderName = HeaderName::from_static("x-refrain-version");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHORIZATION: HeaderName = HeaderName::from_static("proxy-authorization");
const PROXY_AUTHENTICATE: HeaderName = HeaderName::from_static("proxy-authenticate");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Takes the wanted version out. Twice, or not plain text, is a fault.
pub(crate) fn take_version(headers: &mut HeaderMap) -> Result<Option<HeaderValue>, Fault> {
    if !headers.contains_key(VERSION) {
        return Ok(None);
    }
    if headers.get_all(VERSION).iter().count() > 1 {
        return Err(Fault::VersionInvalid);
    }
    Ok(headers.remove(VERSION))
}

/// Leaves what is for the upstream. Returns the protocol that the client wants to change to, if it says so rightly.
pub(crate) fn clean_request(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let upgrade = wanted_upgrade(headers);
    let takes_trailers = headers.get(TE).is_some_and(|te| lists(te, "trailers"));
    drop_hops(headers);
    drop_own(headers);
    drop_doubles(headers);
    for name in [EXPECT, PROXY_AUTHORIZATION, HTTP2_SETTINGS] {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// What a WebSocket's upstream says that HTTP/2 has no use for (RFC 8441, section 5).
pub(crate) fn clean_websocket(headers: &mut HeaderMap) {
    headers.remove("sec-websocket-accept");
}

/// Leaves what is for the client. A handler of this process is trusted to say which fault it means; an upstream at an
/// address is not.
pub(crate) fn clean_response(headers: &mut HeaderMap, is_of_handler: bool) {
    let error = headers.get(ERROR_HEADER).filter(|_| is_of_handler).cloned();
    if headers.contains_key(TRANSFER_ENCODING) {
        // It does not count beside chunks (RFC 9112, section 6.3), which end here.
        headers.remove(CONTENT_LENGTH);
    }
    drop_hops(headers);
    drop_own(headers);
    if let Some(error) = error {
        headers.insert(ERROR_HEADER, error);
    }
}

/// Leaves fields that may be trailers: none that frame, route, tell who asks or belong to one connection (RFC 9110,
/// section 6.5.1). A server may put trailers among the headers, where the edge has had its say.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    drop_hops(trailers);
    drop_own(trailers);
    for name in [AUTHORIZATION, COOKIE, EXPECT, FORWARDED, HOST, SET_COOKIE, TRAILER] {
        trailers.remove(name);
    }
    let is_of_edge = |name: &HeaderName| EDGE.contains(&name.as_str().replace('_', "-").as_str());
    drop_where(trailers, is_of_edge);
}

fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_asked = headers.get_all(CONNECTION).iter().any(|value| lists(value, "upgrade"));
    let protocol = headers.get(UPGRADE)?;
    // A change to HTTP/2 in clear is by prior knowledge alone.
    (is_asked && !lists(protocol, "h2c")).then(|| protocol.clone())
}

fn drop_hops(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers.get_all(CONNECTION).iter().flat_map(items).filter_map(named_hop).collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE] {
        headers.remove(name);
    }
}

/// What `connection` names goes, but for what the message cannot do without and what the edge has set already.
fn named_hop(item: &str) -> Option<HeaderName> {
    let name: HeaderName = item.parse().ok()?;
    (name != HOST && name != FORWARDED && !EDGE.contains(&name.as_str())).then_some(name)
}

/// What the edge sets, checks or drops, beside `x-refrain-*`, as far as it can be spelt otherwise.
const EDGE: [&str; 14] = [
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "x-request-id",
];

/// Names that would pass for one of the edge's and are not.
fn drop_doubles(headers: &mut HeaderMap) {
    let is_double =
        |name: &HeaderName| name.as_str().contains('_') && EDGE.contains(&name.as_str().replace('_', "-").as_str());
    drop_where(headers, is_double);
}

/// Ours, in any spelling that a CGI-like server would take for it.
fn drop_own(headers: &mut HeaderMap) {
    let is_own = |name: &HeaderName| {
        let name = name.as_str().as_bytes();
        name.len() > 9
            && name[..9].iter().zip(b"x-refrain").all(|(a, b)| a == b || (*a == b'_' && *b == b'-'))
            && matches!(name[9], b'-' | b'_')
    };
    drop_where(headers, is_own);
}

fn drop_where(headers: &mut HeaderMap, is_one: impl Fn(&HeaderName) -> bool) {
    let all: Vec<HeaderName> = headers.keys().filter(|name| is_one(name)).cloned().collect();
    for name in all {
        headers.remove(name);
    }
}

fn items(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or("").split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn lists(value: &HeaderValue, wanted: &str) -> bool {
    items(value).any(|item| item.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(*name, HeaderValue::from_static(value));
            map
        })
    }

    #[test]
    fn hop_by_hop_headers_and_those_that_connection_names_go() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "1"),
            ("proxy-connection", "1"),
            ("proxy-authorization", "1"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("host", "a"),
            ("x-kept", "1"),
        ]);
        assert_eq!(clean_request(&mut headers), None);
        assert_eq!(headers, map(&[("host", "a"), ("x-kept", "1")]));
    }

    #[test]
    fn connection_cannot_take_away_host_or_length() {
        let mut headers = map(&[("connection", "host, content-length"), ("host", "a"), ("content-length", "1")]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("host", "a"), ("content-length", "1")]));
    }

    #[test]
    fn connection_cannot_take_away_the_request_id() {
        let mut headers = map(&[("connection", "x-request-id"), ("x-request-id", "1")]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("x-request-id", "1")]));
    }

    #[test]
    fn connection_cannot_take_away_who_the_client_is() {
        let told = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")];
        let mut headers = map(&told);
        headers.insert(CONNECTION, HeaderValue::from_static("forwarded, x-forwarded-for, X-Forwarded-Proto"));
        clean_request(&mut headers);
        assert_eq!(headers, map(&told));
    }

    #[test]
    fn a_name_that_passes_for_one_of_the_edge_goes() {
        for name in EDGE {
            let first = name.replacen('-', "_", 1);
            for name in [name.replace('-', "_"), first] {
                let mut headers = map(&[("x_kept", "1"), ("host", "a")]);
                headers.insert(HeaderName::try_from(&name).unwrap(), HeaderValue::from_static("1"));
                clean_request(&mut headers);
                assert_eq!(headers, map(&[("x_kept", "1"), ("host", "a")]), "{name}");
            }
        }
    }

    #[test]
    fn the_error_of_a_handler_reaches_the_client_and_that_of_an_upstream_does_not() {
        for (is_of_handler, expected) in [(true, map(&[("x-refrain-error", "a")])), (false, HeaderMap::new())] {
            let mut headers = map(&[("x-refrain-error", "a"), ("x-refrain-b", "1"), ("x_refrain_error", "1")]);
            clean_response(&mut headers, is_of_handler);
            assert_eq!(headers, expected);
        }
    }

    #[test]
    fn our_own_headers_go_in_every_spelling() {
        let mut headers = map(&[
            ("x-refrain-a", "1"),
            ("x_refrain_b", "1"),
            ("x-refrain_c", "1"),
            ("x-refrainer", "1"),
            ("x-refrain", "1"),
        ]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("x-refrainer", "1"), ("x-refrain", "1")]));
    }

    #[test]
    fn an_upgrade_counts_when_connection_names_it() {
        assert_eq!(clean_request(&mut map(&[("upgrade", "websocket")])), None);
        let mut headers = map(&[("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")]);
        assert_eq!(clean_request(&mut headers), Some(HeaderValue::from_static("websocket")));
        assert!(headers.is_empty());
        assert_eq!(clean_request(&mut map(&[("upgrade", "h2c"), ("connection", "upgrade")])), None);
    }

    #[test]
    fn te_trailers_goes_on() {
        let mut headers = map(&[("te", "trailers, deflate"), ("connection", "te")]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("te", "trailers")]));
    }

    #[test]
    fn the_version_is_taken_once() {
        let mut headers = map(&[("x-refrain-version", "1.0.0")]);
        assert_eq!(take_version(&mut headers), Ok(Some(HeaderValue::from_static("1.0.0"))));
        assert_eq!(take_version(&mut headers), Ok(None));
        let mut headers = map(&[("x-refrain-version", "1.0.0"), ("x-refrain-version", "1.0.0")]);
        assert_eq!(take_version(&mut headers), Err(Fault::VersionInvalid));
    }

    #[test]
    fn trailers_cannot_frame_route_or_tell_who_asks() {
        let others =
            ["host", "forwarded", "authorization", "cookie", "set-cookie", "expect", "x_real_ip", "x-refrain-a"];
        for name in others.iter().chain(&EDGE) {
            let mut trailers = map(&[("grpc-status", "0"), ("x_kept", "1")]);
            trailers.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::from_static("1"));
            clean_trailers(&mut trailers);
            assert_eq!(trailers, map(&[("grpc-status", "0"), ("x_kept", "1")]), "{name}");
        }
    }
}
