//! Ranges of IP addresses, as rules of what a guest may reach and listeners for trusted proxies have them.
//!
//! An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address, in ranges and in questions.

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

#[cfg(test)]
mod tests {
    use super::*;

    fn has(range: &str, address: &str) -> bool {
        let range = match range.split_once('/') {
            Some((first, prefix)) => IpRange::new(first.parse().expect("an address"), prefix.parse().expect("bits")),
            None => Ok(IpRange::one(range.parse().expect("an address"))),
        };
        range.expect("a range").holds(address.parse().expect("an address"))
    }

    #[test]
    fn a_range_holds_its_first_and_last_address_and_not_their_neighbours() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", ["10.0.0.0", "::ffff:10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            ("::1", ["::1", "0::1"], ["::", "127.0.0.1"]),
            ("fd00::/8", ["fd00::", "fdff:ffff::ffff"], ["fe00::", "fcff::"]),
        ] {
            assert!(inside.iter().all(|ip| has(range, ip)), "{range}");
            assert!(outside.iter().all(|ip| !has(range, ip)), "{range}");
        }
    }

    #[test]
    fn a_range_has_the_addresses_with_its_first_bits() {
        for (range, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.2", false),
            ("192.168.128.0/17", "192.168.127.255", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "203.0.113.9", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1", "::1", true),
        ] {
            assert_eq!(has(range, address), expected, "{address} in {range}");
        }
    }
}
