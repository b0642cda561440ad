//! Rules against names and addresses.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn range(text: &str) -> Host {
    let (first, prefix) = text.split_once('/').expect("a range");
    Host::Range(IpRange::new(ip(first), prefix.parse().expect("a number")).expect("a good range"))
}

fn outbound(hosts: Vec<Host>) -> Outbound {
    let rule = |host| Rule { host, ports: PortRange::one(443), protocol: Protocol::Tcp, proxy_header: None };
    Outbound::new(hosts.into_iter().map(rule).collect())
}

fn permits(outbound: &Outbound, address: &str, names: &[&str]) -> bool {
    outbound.permits(ip(address), 443, Protocol::Tcp, names.iter().copied())
}

const PRIVATE: [&str; 38] = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.8",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::",
    "fdff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "::10.1.2.3",
    "64:ff9b::10.1.2.3",
    "64:ff9b:1::1.1.1.1",
    "2002:0a01:0203::1",
    "2002:7f00:0001::",
    "::ffff:0:10.1.2.3",
    "::ffff:0:127.0.0.1",
    "2001::1",
    "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
];

const PUBLIC: [&str; 24] = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2002:0101:0101::1",
    "2001:db8::1",
    "fbff::1",
    "::ffff:0:1.1.1.1",
    "2001:1::1",
];

#[test]
fn without_rules_nothing_is_permitted() {
    let none = Outbound::default();
    assert!(none.is_empty() && !none.permits_name("example.com") && !none.permits_name("localhost"));
    for address in PRIVATE.iter().chain(&PUBLIC) {
        assert!(!permits(&none, address, &["example.com"]), "{address}");
    }
}

#[test]
fn every_address_that_is_not_public_is_known_at_both_ends_of_its_range() {
    for address in PRIVATE {
        assert!(is_private(ip(address)), "{address}");
    }
    for address in PUBLIC {
        assert!(!is_private(ip(address)), "{address}");
    }
}

#[test]
fn a_name_is_looked_up_when_a_rule_names_it_exactly_by_its_suffix_or_as_any() {
    let exact = outbound(vec![Host::name("API.Example.com").unwrap()]);
    assert!(["api.example.com", "API.EXAMPLE.COM", "api.example.com."].iter().all(|name| exact.permits_name(name)));
    assert!(["example.com", "xapi.example.com", "x.api.example.com", ""].iter().all(|name| !exact.permits_name(name)));
    let below = outbound(vec![Host::below("internal").unwrap()]);
    assert!(["db.internal", "a.b.Internal", "db.internal."].iter().all(|name| below.permits_name(name)));
    assert!(["internal", ".internal", "dbinternal", "db.internals"].iter().all(|name| !below.permits_name(name)));
    let any = outbound(vec![Host::Any]);
    assert!(any.permits_name("a.example") && !any.permits_name("a b") && !any.permits_name(""));
    assert!(!outbound(vec![range("0.0.0.0/0")]).permits_name("a.example"));
}

#[test]
fn a_name_opens_the_public_addresses_that_are_pinned_to_it_alone() {
    let rules = outbound(vec![Host::name("api.example.com").unwrap(), Host::below("internal").unwrap()]);
    for (names, expected) in
        [(&["api.example.com"][..], true), (&["other", "DB.internal"], true), (&["other"], false), (&[], false)]
    {
        assert_eq!(permits(&rules, "1.1.1.1", names), expected, "{names:?}");
    }
    for address in PRIVATE {
        assert!(!permits(&rules, address, &["api.example.com", "db.internal"]), "{address}");
    }
}

#[test]
fn a_name_that_leads_to_a_private_address_needs_a_range_too() {
    let names = vec![Host::below("internal").unwrap()];
    assert!(!permits(&outbound(names.clone()), "10.1.2.3", &["db.internal"]));
    let both = outbound([names, vec![range("10.0.0.0/8")]].concat());
    assert!(permits(&both, "10.1.2.3", &["db.internal"]) && !permits(&both, "192.168.1.1", &["db.internal"]));
}

#[test]
fn any_means_every_public_address_and_no_private_one() {
    let any = outbound(vec![Host::Any]);
    for address in PUBLIC {
        assert!(permits(&any, address, &[]), "{address}");
    }
    for address in PRIVATE {
        assert!(!permits(&any, address, &["localhost", "a.example"]), "{address}");
    }
}

#[test]
fn localhost_means_loopback_and_nothing_else() {
    let rules = outbound(vec![Host::name("LocalHost").unwrap()]);
    assert!(rules.permits_name("localhost"));
    for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert!(permits(&rules, address, &[]), "{address}");
    }
    for address in ["10.0.0.1", "0.0.0.0", "::", "fe80::1"] {
        assert!(!permits(&rules, address, &["localhost"]), "{address}");
    }
    assert!(!permits(&outbound(vec![Host::below("localhost").unwrap()]), "127.0.0.1", &["a.localhost"]));
}

#[test]
fn a_range_holds_its_first_and_last_address_and_not_their_neighbours() {
    for (written, inside, outside) in [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
        ("192.168.4.0/22", ["192.168.4.0", "::ffff:192.168.7.255"], ["192.168.3.255", "192.168.8.0"]),
        ("127.0.0.1/32", ["127.0.0.1", "::ffff:127.0.0.1"], ["127.0.0.0", "127.0.0.2"]),
        ("fd00::/8", ["fd00::", "fdff:ffff::ffff"], ["fcff::", "fe00::"]),
        ("::1/128", ["::1", "0:0::1"], ["::", "::2"]),
        ("::ffff:10.0.0.0/104", ["10.0.0.0", "::ffff:10.255.255.255"], ["11.0.0.0", "::ffff:9.0.0.0"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::1"]),
        ("::/0", ["::", "ffff::"], ["0.0.0.0", "::ffff:10.0.0.1"]),
    ] {
        let rules = outbound(vec![range(written)]);
        assert!(inside.iter().all(|address| permits(&rules, address, &[])), "{written}");
        assert!(outside.iter().all(|address| !permits(&rules, address, &["a.example"])), "{written}");
    }
}

#[test]
fn a_range_that_cannot_be_is_told() {
    let told = |first, prefix| IpRange::new(ip(first), prefix).unwrap_err().to_string();
    assert_eq!(told("10.0.0.0", 33), "a prefix of 33 bits, an address of this kind has 32");
    assert_eq!(told("::", 129), "a prefix of 129 bits, an address of this kind has 128");
    assert_eq!(told("10.1.0.0", 8), "the range with a prefix of 8 bits begins at 10.0.0.0");
    assert_eq!(told("fd00::1", 8), "the range with a prefix of 8 bits begins at fd00::");
}

#[test]
fn ranges_and_hosts_print_as_they_are_written() {
    for text in ["10.0.0.0/8", "::/0", "fd00::/8"] {
        assert_eq!(range(text).to_string(), text);
    }
    assert_eq!(range("127.0.0.1/32").to_string(), "127.0.0.1");
    assert_eq!(range("::ffff:10.0.0.0/104").to_string(), "10.0.0.0/8");
    assert_eq!(Host::below("Internal").unwrap().to_string(), "*.internal");
    assert_eq!((Host::Any.to_string(), Host::name("a").unwrap().to_string()), ("*".into(), "a".into()));
}

#[test]
fn names_are_taken_at_their_limits_and_not_beyond() {
    let label = "a".repeat(63);
    let longest = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
    assert_eq!(longest.len(), MAX_HOST_NAME_BYTES);
    assert!(Host::name(&longest).is_ok() && Host::name(&format!("{longest}a")).is_err());
    assert!(Host::name(&label).is_ok() && Host::name(&format!("{label}a")).is_err());
    for bad in ["", ".", "a..b", ".a", "a.", "a b", "a/b", "*", "*.a", "ä", "a:1", "[::1]"] {
        assert!(Host::name(bad).is_err() && Host::below(bad).is_err(), "{bad}");
    }
}

#[test]
fn ports_and_transport_must_be_those_of_the_rule() {
    let rule = |ports, protocol| Rule { host: range("10.0.0.0/8"), ports, protocol, proxy_header: None };
    let rules = Outbound::new(vec![
        rule(PortRange { first: 8000, last: 8010 }, Protocol::Tcp),
        rule(PortRange::one(53), Protocol::Udp),
    ]);
    let permits = |port, protocol| rules.permits(ip("10.0.0.1"), port, protocol, std::iter::empty());
    assert!(permits(8000, Protocol::Tcp) && permits(8010, Protocol::Tcp) && permits(53, Protocol::Udp));
    assert!(!permits(7999, Protocol::Tcp) && !permits(8011, Protocol::Tcp) && !permits(8000, Protocol::Udp));
    assert!(!permits(53, Protocol::Tcp));
    let all = Outbound::new(vec![rule(PortRange::ALL, Protocol::Tcp)]);
    let permits = |port| all.permits(ip("10.0.0.1"), port, Protocol::Tcp, std::iter::empty());
    assert!(permits(1) && permits(65_535) && !permits(0));
}

#[test]
fn the_first_rule_that_permits_says_what_a_connection_begins_with() {
    let rule = |host, proxy_header| Rule { host, ports: PortRange::one(443), protocol: Protocol::Tcp, proxy_header };
    let rules = Outbound::new(vec![
        rule(Host::name("a.example").unwrap(), Some(ProxyHeader::V1)),
        rule(range("1.1.1.0/24"), Some(ProxyHeader::V2)),
        rule(Host::Any, None),
    ]);
    let header = |address: &str, names: &[&str]| {
        let rule = rules.rule_for(ip(address), 443, Protocol::Tcp, names.iter().copied());
        rule.expect("permitted").proxy_header
    };
    assert_eq!(header("1.1.1.1", &["b.example", "a.example"]), Some(ProxyHeader::V1));
    assert_eq!(header("1.1.1.1", &["b.example"]), Some(ProxyHeader::V2));
    assert_eq!(header("2.2.2.2", &["b.example"]), None);
}
