//! Which addresses are public, and which are nobody's but this machine's. A name may lead to private networks only if it
//! is in the list of destinations by itself, and to this machine or its link only if it means them whoever is asked: else
//! whoever controls a name could have a guest speak to its host, or to what a cloud tells its machines alone.
//!
//! After the special-purpose registries of IANA (RFC 6890 and later).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::permissions::Grant;

/// Whether what is permitted leads to an address.
pub(super) fn is_within(address: IpAddr, grant: Grant) -> bool {
    match grant {
        Grant::Public => is_public(address),
        Grant::Private => is_elsewhere(address),
        Grant::Anywhere => true,
    }
}

/// Whether an address is that of one other machine: not loopback, unspecified, link-local, multicast or broadcast.
fn is_elsewhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_elsewhere_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_elsewhere_v4(inner),
            None => !(address.is_loopback() || address.is_unicast_link_local() || address.is_multicast()),
        },
    }
}

fn is_elsewhere_v4(address: Ipv4Addr) -> bool {
    !matches!(address.octets(), [0 | 127 | 224.., ..] | [169, 254, ..])
}

/// Whether an address is one that anybody may speak to.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

/// Only global unicast is public (2000::/3), without documentation, benchmarks, Teredo and ORCHID.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || (a == 0x3fff && b < 0x1000);
    (a & 0xe000) == 0x2000 && !special
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        // The loopback and unspecified addresses look like compatible ones, and are as little public.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_machines_and_their_networks_are_not_public() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn a_whole_name_leads_to_private_networks_but_never_to_this_machine_or_its_link() {
        let leads = |address: &str| is_within(address.parse().expect("an address"), Grant::Private);
        for address in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.0.0.1", "1.1.1.1"]
        {
            assert!(leads(address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "127.8.9.1",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!leads(address), "{address}");
            assert!(is_within(address.parse().expect("an address"), Grant::Anywhere), "{address}");
        }
    }

    #[test]
    fn other_addresses_are_public() {
        for address in
            ["1.1.1.1", "100.63.0.1", "172.32.0.1", "192.1.1.1", "223.255.255.255", "2606:4700::1", "::ffff:8.8.8.8"]
        {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }
}
