//! `wasi:sockets/ip-name-lookup`: names that are known without asking anybody, and those that are none.

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;

use crate::Check;
use crate::addresses::*;

pub const CHECKS: &[Check] = &[("names-known", known), ("names-unknown", unknown), ("names-invalid", invalid)];

fn resolve(name: &str) -> Result<Vec<IpAddress>, ErrorCode> {
    let stream = resolve_addresses(&instance_network(), name)?;
    let (ready, mut addresses) = (stream.subscribe(), Vec::new());
    loop {
        match stream.resolve_next_address() {
            Ok(Some(address)) => addresses.push(address),
            Ok(None) => return Ok(addresses),
            Err(ErrorCode::WouldBlock) => wait(&ready),
            Err(error) => return Err(error),
        }
    }
}

fn known() {
    assert!(!resolve("localhost").unwrap().is_empty());
    let v6 = |first, second| IpAddress::Ipv6((first, second, 0, 0, 0, 0, 0, 0));
    for (name, address) in [
        ("0.0.0.0", unspecified(Family::Ipv4)),
        ("127.0.0.1", loopback(Family::Ipv4)),
        ("192.0.2.0", nobodys(Family::Ipv4)),
        ("::", unspecified(Family::Ipv6)),
        ("::1", loopback(Family::Ipv6)),
        ("[::]", unspecified(Family::Ipv6)),
        ("2001:0db8:0:0:0:0:0:0", v6(0x2001, 0xdb8)),
        ("dead:beef::", v6(0xdead, 0xbeef)),
        ("DEAD:BEEF::0", v6(0xdead, 0xbeef)),
    ] {
        let found: Vec<String> = resolve(name).unwrap().iter().map(|address| format!("{address:?}")).collect();
        assert_eq!(found, [format!("{address:?}")], "{name}");
    }
}

/// A program by itself has nobody to ask.
fn unknown() {
    for name in ["example.com", "no-such-host.example"] {
        assert_eq!(error(resolve(name)), Some(ErrorCode::NameUnresolvable), "{name}");
    }
}

fn invalid() {
    for name in ["", " ", "a.b<&>", "127.0.0.1:80", "[::]:80", "http://example.com/", "[127.0.0.1]", "a:b"] {
        assert_eq!(error(resolve(name)), Some(ErrorCode::InvalidArgument), "{name:?}");
    }
}

/// Two look-ups at once. Each is ready when its own answer is there; the second one begins when the first is answered.
pub fn two_at_once() {
    let one = resolve_addresses(&instance_network(), "one.example").unwrap();
    let one_ready = one.subscribe();
    assert_eq!(error(one.resolve_next_address()), Some(ErrorCode::WouldBlock));
    assert!(!one_ready.ready());
    let two = resolve_addresses(&instance_network(), "two.example").unwrap();
    let two_ready = two.subscribe();
    assert!(one_ready.ready() && !two_ready.ready(), "only the first is answered");
    assert_eq!(error(two.resolve_next_address()), Some(ErrorCode::WouldBlock));
    println!("{:?}", one.resolve_next_address().unwrap().unwrap());
    wait(&two_ready);
    println!("{:?}", two.resolve_next_address().unwrap().unwrap());
    assert!(one.resolve_next_address().unwrap().is_none() && two.resolve_next_address().unwrap().is_none());
}
