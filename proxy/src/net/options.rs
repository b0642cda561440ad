//! What a listener's sockets are told.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// After so long without a byte the system asks, by default, whether the other side is still there.
pub const KEEPALIVE: Duration = Duration::from_secs(60);

/// Options of a listener and of the connections that it accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// Small writes go out at once. Default: yes.
    pub nodelay: bool,
    /// After so long without a byte the system asks whether the client is still there, and goes on asking four times as
    /// often; none never asks. Whole seconds, from 1. Default: 60 s.
    pub keepalive: Option<Duration>,
    /// A listener at an IPv6 address accepts IPv4 as well. Default: no, so that `0.0.0.0` and `[::]` can both be
    /// listened on.
    pub dual_stack: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { nodelay: true, keepalive: Some(KEEPALIVE), dual_stack: false }
    }
}

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// There is no IP address before the slash, or an IPv4 address written as an IPv6 one.
    #[error("`{0}` is no range of addresses: it has the form 10.0.0.0/8 or fd00::/8, or is one address")]
    Address(String),
    /// The number of bits is none, or too large.
    #[error("`{text}` is no range of addresses: its address has {limit} bits")]
    Bits {
        /// The text.
        text: String,
        /// The most bits.
        limit: u8,
    },
}

impl IpRange {
    /// The addresses that begin with the first `bits` bits of this one; none when it has fewer.
    #[must_use]
    pub fn new(first: IpAddr, bits: u8) -> Option<Self> {
        let first = first.to_canonical();
        (bits <= if first.is_ipv4() { 32 } else { 128 }).then_some(Self { first, bits })
    }

    /// Whether the address is one of them. An IPv4 address that is written as an IPv6 one counts as itself.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                same_begin(u128::from(first.to_bits()) << 96, u128::from(address.to_bits()) << 96, self.bits)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => same_begin(first.to_bits(), address.to_bits(), self.bits),
            _ => false,
        }
    }
}

fn same_begin(first: u128, address: u128, bits: u8) -> bool {
    let differ = first ^ address;
    differ.leading_zeros() >= u32::from(bits)
}

impl From<IpAddr> for IpRange {
    /// The range of one address.
    fn from(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, bits: if first.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for IpRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse().ok().filter(|address: &IpAddr| *address == address.to_canonical());
        let address = address.ok_or_else(|| RangeError::Address(text.to_owned()))?;
        let one = Self::from(address);
        let Some(bits) = bits else {
            return Ok(one);
        };
        let bits = bits.parse().ok().filter(|bits| *bits <= one.bits);
        let bits = bits.ok_or_else(|| RangeError::Bits { text: text.to_owned(), limit: one.bits })?;
        Ok(Self { first: address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_addresses_with_its_first_bits() {
        let has = |range: &str, address: &str| {
            let range: IpRange = range.parse().expect("a range");
            range.contains(address.parse().expect("an address"))
        };
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

    #[test]
    fn what_is_no_range_says_why() {
        let error = |text: &str| text.parse::<IpRange>().expect_err("no range").to_string();
        assert_eq!(error("10.0.0.0/33"), "`10.0.0.0/33` is no range of addresses: its address has 32 bits");
        assert_eq!(error("::/129"), "`::/129` is no range of addresses: its address has 128 bits");
        for text in ["10.0.0/8", "", "/8", "example.com", "::ffff:10.0.0.0/104"] {
            assert!(error(text).contains("has the form 10.0.0.0/8"), "{text}");
        }
        assert!(error("10.0.0.0/").contains("32 bits") && error("10.0.0.0/-1").contains("32 bits"));
    }
}
