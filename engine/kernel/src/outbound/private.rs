//! Addresses that are not public.
//!
//! An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address.
//! The IPv6 forms that a network translates to an IPv4 address (6to4, NAT64, SIIT, IPv4-compatible) are as private as
//! what they carry. Sources: RFC 1122, 1918, 3927, 4193, 4291, 6598, 6890, 3056 (6to4), 6052 (NAT64), 2765 (SIIT), 4380
//! (Teredo).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is not one of a public host: loopback, private, link-local, unique local, shared by a carrier,
/// unspecified, multicast, broadcast, reserved, for benchmarks; or an IPv6 form of such an IPv4 address.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    match a {
        // "This network", private, loopback; multicast, reserved and broadcast.
        0 | 10 | 127 | 224..=255 => true,
        100 => b & 0xC0 == 64,
        169 => b == 254,
        172 => b & 0xF0 == 16,
        192 => b == 168 || (b == 0 && c == 0),
        198 => b & 0xFE == 18,
        _ => false,
    }
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // Unspecified, loopback, and addresses that carry an IPv4 one at their end or, for 6to4, after the first segment.
    let carried = match segments {
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            Some((segments[6], segments[7]))
        }
        [0x2002, ..] => Some((segments[1], segments[2])),
        _ => None,
    };
    if let Some((high, low)) = carried {
        return is_private_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    // Unique local fc00::/7; link-local and the former site-local fe80::/9; multicast ff00::/8; NAT64 for local use;
    // Teredo 2001::/32, whatever it carries: a relay leads to the networks of both IPv4 addresses in it.
    let first = segments[0];
    first & 0xFE00 == 0xFC00
        || first & 0xFF80 == 0xFE80
        || first & 0xFF00 == 0xFF00
        || (first == 0x64 && segments[1] == 0xff9b && segments[2] == 1)
        || (first == 0x2001 && segments[1] == 0)
}
