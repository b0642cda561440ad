//! Addresses that are not public, and ranges of addresses.
//!
//! An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address, in rules and in questions.
//! The IPv6 forms that a network translates to an IPv4 address (6to4, NAT64, IPv4-compatible) are as private as what
//! they carry. Sources: RFC 1122, 1918, 3927, 4193, 4291, 6598, 6890, 3056 (6to4), 6052 (NAT64).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses with a common beginning: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    /// The first address; all bits after the prefix are 0.
    first: IpAddr,
    prefix: u8,
}

/// A range that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IpRangeError {
    /// A prefix is longer than the address.
    #[error("a prefix of {prefix} bits, an address of this kind has {bits}")]
    Prefix {
        /// What was asked for.
        prefix: u8,
        /// How many there are.
        bits: u8,
    },
    /// The address says more than the prefix.
    #[error("the range with a prefix of {prefix} bits begins at {first}")]
    First {
        /// What was asked for.
        prefix: u8,
        /// Where that range begins.
        first: IpAddr,
    },
}

impl IpRange {
    /// One address.
    #[must_use]
    pub fn one(ip: IpAddr) -> Self {
        let first = ip.to_canonical();
        Self { first, prefix: bits(first) }
    }

    /// The addresses that share their first `prefix` bits with `first`, which has no other bits.
    pub fn new(first: IpAddr, prefix: u8) -> Result<Self, IpRangeError> {
        let bits_there = bits(first);
        if prefix > bits_there {
            return Err(IpRangeError::Prefix { prefix, bits: bits_there });
        }
        let begins = masked(first, prefix);
        if begins != first {
            return Err(IpRangeError::First { prefix, first: begins });
        }
        Ok(match first.to_canonical() {
            // A mapped range; one that begins before the mapped addresses is of IPv6 alone.
            IpAddr::V4(v4) if first.is_ipv6() && prefix >= 96 => Self { first: v4.into(), prefix: prefix - 96 },
            _ => Self { first, prefix },
        })
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn holds(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && masked(ip, self.prefix) == self.first
    }
}

/// As it is written: a single address without its prefix.
impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.first) {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    let rest = u32::from(bits(ip) - prefix);
    match ip {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(u32::MAX.checked_shl(rest).unwrap_or(0) & v4.to_bits()).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(u128::MAX.checked_shl(rest).unwrap_or(0) & v6.to_bits()).into(),
    }
}

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
        [0, 0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some((segments[6], segments[7])),
        [0x2002, ..] => Some((segments[1], segments[2])),
        _ => None,
    };
    if let Some((high, low)) = carried {
        return is_private_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    // Unique local fc00::/7; link-local and the former site-local fe80::/9; multicast ff00::/8; NAT64 for local use.
    let first = segments[0];
    first & 0xFE00 == 0xFC00
        || first & 0xFF80 == 0xFE80
        || first & 0xFF00 == 0xFF00
        || (first == 0x64 && segments[1] == 0xff9b && segments[2] == 1)
}
