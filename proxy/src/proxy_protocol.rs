//! The header of the PROXY protocol, by which a proxy tells a server whose connection it passes on: read from trusted
//! proxies, and written to servers that want it. Pure.
//!
//! Rules: HAProxy's specification of 2020/03/05, versions 1 (a line of text) and 2 (binary).

mod parse;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use refrain_wire::ProxyHeader;

pub use parse::{MAX_V1_BYTES, MAX_V2_BYTES, ParseError, Parsed, parse};

/// What version 2 begins with.
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and the connection is the proxy's own.
const V2_LOCAL: u8 = 0x20;
/// Version 2, and the connection is somebody else's.
const V2_PROXY: u8 = 0x21;
const V2_TCP_OVER_IPV4: u8 = 0x11;
const V2_TCP_OVER_IPV6: u8 = 0x21;

/// The header for a connection from `source`, if it is known, to `destination`; empty for [`ProxyHeader::None`].
#[must_use]
pub fn encode(header: ProxyHeader, source: Option<SocketAddr>, destination: SocketAddr) -> Vec<u8> {
    let ends = source.and_then(|source| same_family(source, destination));
    match header {
        ProxyHeader::None => Vec::new(),
        ProxyHeader::V1 => encode_v1(ends),
        ProxyHeader::V2 => encode_v2(ends),
    }
}

/// Both ends as addresses of one family; IPv4 addresses written as IPv6 ones count as IPv4.
fn same_family(source: SocketAddr, destination: SocketAddr) -> Option<(SocketAddr, SocketAddr)> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (canonical(source), canonical(destination));
    (source.is_ipv4() == destination.is_ipv4()).then_some((source, destination))
}

fn encode_v1(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = ends else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn encode_v2(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut out = V2_SIGNATURE.to_vec();
    let Some((source, destination)) = ends else {
        out.extend_from_slice(&[V2_LOCAL, 0, 0, 0]);
        return out;
    };
    let (family, length) = if source.is_ipv4() { (V2_TCP_OVER_IPV4, 12) } else { (V2_TCP_OVER_IPV6, 36) };
    out.extend_from_slice(&[V2_PROXY, family, 0, length]);
    for end in [source, destination] {
        match end.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    out
}
