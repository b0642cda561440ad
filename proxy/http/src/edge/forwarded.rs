//! Who the client is, told to upstreams: `x-forwarded-{for,proto,host}` and `forwarded` (RFC 7239).
//!
//! What a client says of itself is replaced. A peer in a trusted range is a proxy: its lists go on, with it added at the
//! end, and the client is the last address in `x-forwarded-for` that is not trusted. Whatever a client put in before the
//! proxy's own item, the bytes from the right say who the client is: a list that cannot go on is replaced by the client
//! and the peer. `x-real-ip` never goes on: it is no list, so it cannot be seen whether the proxy set it or let it pass.

use std::fmt::Write;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};

use crate::plan::Network;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const OTHERS: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-prefix"),
];
/// Most bytes of a list that goes on lengthened; a longer one is replaced.
const MAX_LIST_BYTES: usize = 1024;

/// The other end of a connection. Of a Unix socket the address is 127.0.0.1.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) is_tls: bool,
    /// The address as a header's value, made once a connection.
    text: HeaderValue,
    /// The value of `forwarded` up to `;host=`.
    node: String,
}

impl Peer {
    pub(crate) fn new(address: IpAddr, is_tls: bool) -> Self {
        let address = address.to_canonical();
        let text = HeaderValue::from_str(&address.to_string()).expect("an address is plain text");
        let scheme = if is_tls { "https" } else { "http" };
        let node = format!("for={};proto={scheme}", node_of(address));
        Self { address, is_tls, text, node }
    }
}

/// The address of the client: the peer's, or what trusted proxies say.
pub(crate) fn client_of(peer: &Peer, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|range| range.contains(address));
    if !is_trusted(peer.address) {
        return peer.address;
    }
    let lines = headers.get_all(FOR).iter().rev().map(HeaderValue::as_bytes);
    let mut client = peer.address;
    for item in lines.flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        let Some(address) = parse_address(item) else { break };
        client = address.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// One item of a list; none if it is no address.
fn parse_address(item: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(item).ok()?.trim().parse().ok()
}

/// Sets the headers. `host` is what the client asked for, if it said.
pub(crate) fn set_forwarded(peer: &Peer, headers: &mut HeaderMap, host: Option<&HeaderValue>, trusted: &[Network]) {
    let is_trusted = trusted.iter().any(|range| range.contains(peer.address));
    let node = forwarded_node(peer, host);
    let (for_list, node) = if is_trusted {
        let client = || Some(client_of(peer, headers, trusted)).filter(|client| *client != peer.address);
        let for_list = lengthen(headers, &FOR, &peer.text, || client().map(|client| client.to_string()));
        let node = lengthen(headers, &FORWARDED, &node, || client().map(|client| format!("for={}", node_of(client))));
        (for_list, node)
    } else {
        (peer.text.clone(), node)
    };
    headers.insert(FOR, for_list);
    headers.remove(REAL_IP);
    headers.insert(FORWARDED, node);
    if is_trusted {
        [PROTO, HOST].iter().for_each(|name| keep_last(headers, name));
    }
    if !(is_trusted && headers.contains_key(PROTO)) {
        headers.insert(PROTO, HeaderValue::from_static(if peer.is_tls { "https" } else { "http" }));
    }
    if !(is_trusted && headers.contains_key(HOST)) {
        match host {
            Some(host) => headers.insert(HOST, host.clone()),
            None => headers.remove(HOST),
        };
    }
    if !is_trusted {
        for name in OTHERS {
            headers.remove(name);
        }
    }
}

/// What is no list is said once: of several lines the last one is the proxy's.
fn keep_last(headers: &mut HeaderMap, name: &HeaderName) {
    if let Some(last) = headers.get_all(name).iter().next_back().cloned() {
        headers.insert(name, last);
    }
}

fn forwarded_node(peer: &Peer, host: Option<&HeaderValue>) -> HeaderValue {
    let mut node = String::with_capacity(peer.node.len() + 64);
    node.push_str(&peer.node);
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        // A host has no quotes: the edge has checked it.
        let _ = write!(node, ";host=\"{host}\"");
    }
    HeaderValue::from_str(&node).expect("an address and a checked host are plain text")
}

/// An address as `forwarded` has it (RFC 7239, section 6).
fn node_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}

/// The list with one more at its end. Of one that is too long, or no plain text, only the client stays, if it is known.
fn lengthen(
    headers: &HeaderMap,
    name: &HeaderName,
    last: &HeaderValue,
    client: impl Fn() -> Option<String>,
) -> HeaderValue {
    let last_text = last.to_str().expect("made by us");
    let lines: Result<Vec<&str>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
    let list = lines.map(|lines| join(lines.into_iter().chain([last_text]))).ok();
    let list = list.filter(|list| list.len() <= MAX_LIST_BYTES);
    let list = list.unwrap_or_else(|| join(client().as_deref().into_iter().chain([last_text])));
    HeaderValue::from_str(&list).expect("plain text, or made by us")
}

fn join<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn trusted() -> Vec<Network> {
        vec!["10.0.0.0/8".parse().unwrap()]
    }

    fn peer(address: &str) -> Peer {
        Peer::new(address.parse().unwrap(), true)
    }

    #[test]
    fn what_a_client_says_of_itself_is_replaced() {
        let mut map = headers(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "6.6.6.6"),
        ]);
        set_forwarded(&peer("1.2.3.4"), &mut map, Some(&HeaderValue::from_static("a:1")), &trusted());
        let expected = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4;proto=https;host=\"a:1\""),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a:1"),
        ]);
        assert_eq!(map, expected);
    }

    #[test]
    fn a_trusted_proxy_is_added_to_what_it_says() {
        let mut map =
            headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "http"), ("x-real-ip", "6.6.6.6")]);
        set_forwarded(&peer("10.0.0.1"), &mut map, None, &trusted());
        assert_eq!(map[FOR], "1.2.3.4, 10.0.0.1");
        assert!(!map.contains_key(REAL_IP));
        assert_eq!(map[PROTO], "http");
        assert_eq!(map[FORWARDED], "for=10.0.0.1;proto=https");
    }

    #[test]
    fn of_several_lines_that_are_no_lists_the_last_one_is_the_proxys() {
        let mut map = headers(&[]);
        for (proto, host) in [("http", "of.client"), ("https", "of.proxy")] {
            map.append(PROTO, HeaderValue::from_static(proto));
            map.append(HOST, HeaderValue::from_static(host));
        }
        set_forwarded(&peer("10.0.0.1"), &mut map, None, &trusted());
        let all = |name| map.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(
            (all(PROTO), all(HOST)),
            (vec![&HeaderValue::from_static("https")], vec![&HeaderValue::from_static("of.proxy")])
        );
    }

    #[test]
    fn an_ipv6_address_is_quoted() {
        let mut map = HeaderMap::new();
        set_forwarded(&peer("fd00::1"), &mut map, None, &[]);
        assert_eq!(map[FORWARDED], "for=\"[fd00::1]\";proto=https");
        assert_eq!(map[FOR], "fd00::1");
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_trusted() {
        let table = [
            ("1.2.3.4", "6.6.6.6", "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
            ("10.0.0.1", "1.2.3.4, 10.0.0.9", "1.2.3.4"),
            ("10.0.0.1", "1.2.3.4, nonsense, 10.0.0.9", "10.0.0.9"),
            ("10.0.0.1", "", "10.0.0.1"),
        ];
        for (from, list, expected) in table {
            let client = client_of(&peer(from), &headers(&[("x-forwarded-for", list)]), &trusted());
            assert_eq!(client.to_string(), expected, "{from} says {list}");
        }
    }

    #[test]
    fn a_client_cannot_hide_behind_what_it_says_itself() {
        let long = format!("{}, 1.2.3.4", "x".repeat(MAX_LIST_BYTES));
        let latin = b"\xe4, 1.2.3.4".to_vec();
        for list in [long.into_bytes(), latin] {
            let mut map = HeaderMap::new();
            map.insert(FOR, HeaderValue::from_bytes(&list).unwrap());
            map.insert(FORWARDED, HeaderValue::from_bytes(&list).unwrap());
            assert_eq!(client_of(&peer("10.0.0.1"), &map, &trusted()).to_string(), "1.2.3.4");
            set_forwarded(&peer("10.0.0.1"), &mut map, None, &trusted());
            assert_eq!(map[FOR], "1.2.3.4, 10.0.0.1");
            assert_eq!(map[FORWARDED], "for=1.2.3.4, for=10.0.0.1;proto=https");
        }
    }

    #[test]
    fn a_line_of_the_client_does_not_hide_that_of_the_proxy() {
        let mut map = HeaderMap::new();
        map.append(FOR, HeaderValue::from_bytes(b"\xff").unwrap());
        map.append(FOR, HeaderValue::from_static("fd00::9"));
        assert_eq!(client_of(&peer("10.0.0.1"), &map, &trusted()).to_string(), "fd00::9");
        set_forwarded(&peer("10.0.0.1"), &mut map, None, &trusted());
        assert_eq!(map[FOR], "fd00::9, 10.0.0.1");
    }

    #[test]
    fn a_list_of_the_limit_is_lengthened_and_a_longer_one_replaced() {
        let own = ", 10.0.0.1".len();
        for (bytes, is_kept) in [(MAX_LIST_BYTES - own, true), (MAX_LIST_BYTES - own + 1, false)] {
            let mut map = HeaderMap::new();
            map.insert(FOR, HeaderValue::from_str(&"x".repeat(bytes)).unwrap());
            set_forwarded(&peer("10.0.0.1"), &mut map, None, &trusted());
            assert_eq!(map[FOR] != "10.0.0.1", is_kept);
        }
    }
}
