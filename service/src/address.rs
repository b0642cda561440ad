//! Ranges of IP addresses as a manifest writes them: `10.0.0.0/8`, `fd00::/8`, `127.0.0.1`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses with a common beginning; one address when the prefix is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// Its first address: every bit after the prefix is 0.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// How many bits all its addresses share; at most 32 or 128.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether the address is one of them, as which an IPv4 address that is written as one of IPv6 counts.
    pub fn contains(self, address: IpAddr) -> bool {
        let is_in =
            |address: IpAddr| address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix) == self.first;
        match address.to_canonical() {
            IpAddr::V4(address) => is_in(address.into()) || is_in(address.to_ipv6_mapped().into()),
            IpAddr::V6(_) => is_in(address),
        }
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

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
        let bits = bits(first);
        let prefix = match prefix {
            None => bits,
            Some(prefix) => {
                let number = prefix.parse().ok().filter(|number| *number <= bits);
                number.ok_or_else(|| format!("`{prefix}` is no length of a prefix, allowed: 0 to {bits}"))?
            }
        };
        let begins = masked(first, prefix);
        if begins != first {
            return Err(format!("the range with a prefix of {prefix} bits begins at {begins}, not at {first}"));
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.first) {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_taken_from_no_bit_to_all_and_print_as_they_are_written() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.0/24", "127.0.0.1", "::/0", "fd00::/8", "::1", "fe80::/10"] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), text);
        }
        assert_eq!("127.0.0.1/32".parse::<AddressRange>().unwrap().to_string(), "127.0.0.1");
        assert_eq!("::1/128".parse::<AddressRange>().unwrap().to_string(), "::1");
    }

    #[test]
    fn a_range_contains_the_addresses_that_begin_as_it_does() {
        for (range, address, expected) in [
            ("127.0.0.0/8", "127.0.0.1", true),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("::ffff:127.0.0.0/104", "127.0.0.1", true),
            ("::ffff:127.0.0.0/104", "128.0.0.1", false),
            ("127.0.0.2", "127.0.0.1", false),
            ("0.0.0.0/0", "::1", false),
            ("::1", "::1", true),
        ] {
            let range: AddressRange = range.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{address} in {range}");
        }
    }

    #[test]
    fn what_is_no_range_is_told() {
        for (text, told) in [
            ("a/8", "`a` is no IP address"),
            ("", "`` is no IP address"),
            ("10.0.0.0/", "`` is no length of a prefix, allowed: 0 to 32"),
            ("10.0.0.0/33", "`33` is no length of a prefix, allowed: 0 to 32"),
            ("::/129", "`129` is no length of a prefix, allowed: 0 to 128"),
            ("10.1.0.0/8", "the range with a prefix of 8 bits begins at 10.0.0.0, not at 10.1.0.0"),
        ] {
            assert_eq!(text.parse::<AddressRange>().unwrap_err(), told, "{text}");
        }
    }
}
