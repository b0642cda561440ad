//! `sock_getaddrinfo`: a guest gives a chain of structures to be filled in, and hints.
//!
//! `addrinfo`: `flags u16 | family u8 | socktype u8 | protocol u8 | pad | addrlen u32 | addr u32 | canonname u32 |
//! canonname_len u32 | next u32`. `sockaddr`: `family u8 | pad | data_len u32 | data u32`. The data of an address is
//! what follows the family in a `sockaddr_in` or `sockaddr_in6`: the port in network order, and the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use refrain_kernel::{Errno, Kernel, Stop};
use wasmtime::Caller;

use super::super::{MAX_HOST_TEXT_BYTES, text};
use super::address::{FAMILY_INET4, FAMILY_INET6};
use super::{TYPE_ANY, TYPE_DATAGRAM, TYPE_STREAM};
use crate::host::{Host, waiting_call};
use crate::links::Links;
use crate::preview1::memory::{read, read_u16, read_u32, slice, write, write_u32};

const ADDRINFO_BYTES: u32 = 28;
const SOCKADDR_BYTES: u32 = 12;
/// Bytes of the data of an IPv4 and an IPv6 address.
const DATA_INET4: u32 = 6;
const DATA_INET6: u32 = 26;
/// Bytes of `sockaddr_in` and `sockaddr_in6`.
const ADDRLEN_INET4: u32 = 16;
const ADDRLEN_INET6: u32 = 28;
const FLAG_PASSIVE: u16 = 1;
/// The most bytes of a service's name.
const MAX_SERVICE_BYTES: u32 = 64;
/// Services that are known by name.
const SERVICES: [(&str, u16); 10] = [
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("ntp", 123),
    ("pop3", 110),
    ("smtp", 25),
    ("ssh", 22),
    ("telnet", 23),
];

/// What a look-up answers beside errnos: numbers that follow those of preview 1.
mod answer {
    pub(super) const AGAIN: i32 = 78;
    pub(super) const FAMILY: i32 = 81;
    pub(super) const MEMORY: i32 = 82;
    pub(super) const NO_DATA: i32 = 83;
    pub(super) const NO_NAME: i32 = 84;
    pub(super) const SERVICE: i32 = 85;
    pub(super) const SOCKET_TYPE: i32 = 86;
}

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting(
        "sock_getaddrinfo",
        |caller: Caller<'_, Host>,
         (node, node_len, service, service_len, hints, results, max, count): (
            u32,
            u32,
            u32,
            u32,
            u32,
            u32,
            u32,
            u32,
        )| {
            waiting_call(caller, move |kernel, memory, first| {
                slice(memory, count, 4)?;
                slice(memory, results, 4)?;
                let asked = Asked {
                    node: text(memory, (node, node_len), MAX_HOST_TEXT_BYTES)?,
                    service: text(memory, (service, service_len.min(MAX_SERVICE_BYTES)), MAX_SERVICE_BYTES)?,
                    hints: Hints::read(memory, hints)?,
                };
                let found = match asked.answer(kernel, first) {
                    Ok(found) if max > 0 => found,
                    Ok(_) => return Ok(answer::MEMORY),
                    Err(Failure::Answer(code)) => return Ok(code),
                    Err(Failure::Stop(stop)) => return Err(stop),
                };
                let written = fill(memory, read_u32(memory, results)?, max, &asked.hints, &found)?;
                write_u32(memory, count, written)?;
                Ok(if written == 0 { answer::NO_DATA } else { 0 })
            })
        },
    )
}

struct Hints {
    flags: u16,
    family: u8,
    kind: u8,
    protocol: u8,
}

impl Hints {
    fn read(memory: &[u8], at: u32) -> Result<Self, Errno> {
        if at == 0 {
            return Ok(Self { flags: 0, family: 0, kind: TYPE_STREAM as u8, protocol: 0 });
        }
        slice(memory, at, ADDRINFO_BYTES)?;
        let flags = read_u16(memory, at)?;
        let [family, kind, protocol] = read(memory, at + 2)?;
        Ok(Self { flags, family, kind, protocol })
    }

    fn takes(&self, ip: IpAddr) -> bool {
        let family = if ip.is_ipv4() { FAMILY_INET4 } else { FAMILY_INET6 };
        self.family == 0 || u32::from(self.family) == family
    }
}

struct Asked {
    node: Vec<u8>,
    service: Vec<u8>,
    hints: Hints,
}

enum Failure {
    Answer(i32),
    Stop(Stop),
}

impl Asked {
    /// The addresses and the port.
    fn answer(&self, kernel: &mut Kernel, first: bool) -> Result<(Vec<IpAddr>, u16), Failure> {
        let hints = &self.hints;
        if u32::from(hints.family) > FAMILY_INET6 {
            return Err(Failure::Answer(answer::FAMILY));
        }
        if ![TYPE_ANY, TYPE_DATAGRAM, TYPE_STREAM].contains(&u32::from(hints.kind)) {
            return Err(Failure::Answer(answer::SOCKET_TYPE));
        }
        if self.node.is_empty() && self.service.is_empty() {
            return Err(Failure::Answer(answer::NO_NAME));
        }
        let port = port(&self.service).ok_or(Failure::Answer(answer::SERVICE))?;
        let mut found = if self.node.is_empty() {
            own_addresses(hints.flags & FLAG_PASSIVE != 0)
        } else {
            kernel.resolve(&self.node, first).map_err(|stop| match stop {
                Stop::Errno(Errno::Noent) => Failure::Answer(answer::NO_NAME),
                Stop::Errno(Errno::Again) => Failure::Answer(answer::AGAIN),
                other => Failure::Stop(other),
            })?
        };
        found.retain(|ip| hints.takes(*ip));
        Ok((found, port))
    }
}

fn port(service: &[u8]) -> Option<u16> {
    let service = std::str::from_utf8(service).ok()?;
    if service.is_empty() {
        return Some(0);
    }
    let known = SERVICES.iter().find(|(name, _)| *name == service).map(|(_, port)| *port);
    known.or_else(|| service.parse().ok())
}

fn own_addresses(any: bool) -> Vec<IpAddr> {
    if any {
        vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
    } else {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    }
}

/// What goes into one structure of the chain.
struct Filling {
    info: u32,
    sockaddr: u32,
    data: u32,
    bytes: Vec<u8>,
    family: u32,
}

impl Filling {
    /// Looks at the structure at `info`, whose pointers are checked. None when it has no room for the address.
    fn of(memory: &[u8], info: u32, ip: IpAddr, port: u16) -> Result<Option<Self>, Errno> {
        slice(memory, info, ADDRINFO_BYTES)?;
        let sockaddr = read_u32(memory, info + 12)?;
        slice(memory, sockaddr, SOCKADDR_BYTES)?;
        let (room, data) = (read_u32(memory, sockaddr + 4)?, read_u32(memory, sockaddr + 8)?);
        let mut bytes = port.to_be_bytes().to_vec();
        let family = match ip {
            IpAddr::V4(ip) => {
                bytes.extend_from_slice(&ip.octets());
                FAMILY_INET4
            }
            IpAddr::V6(ip) => {
                bytes.extend_from_slice(&[0; 4]);
                bytes.extend_from_slice(&ip.octets());
                bytes.extend_from_slice(&[0; 4]);
                FAMILY_INET6
            }
        };
        let len = bytes.len() as u32;
        debug_assert!([DATA_INET4, DATA_INET6].contains(&len));
        if len > room {
            return Ok(None);
        }
        slice(memory, data, len)?;
        Ok(Some(Self { info, sockaddr, data, bytes, family }))
    }

    fn write(&self, memory: &mut [u8], hints: &Hints) -> Result<(), Errno> {
        write(memory, self.data, &self.bytes)?;
        write(memory, self.sockaddr, &[self.family as u8])?;
        write_u32(memory, self.sockaddr + 4, self.bytes.len() as u32)?;
        let kind = if u32::from(hints.kind) == TYPE_ANY { TYPE_STREAM as u8 } else { hints.kind };
        let protocol = if u32::from(kind) == TYPE_DATAGRAM { 2 } else { 1 };
        let protocol = if hints.protocol == 0 { protocol } else { hints.protocol };
        write(memory, self.info + 2, &[self.family as u8, kind, protocol])?;
        let addrlen = if self.family == FAMILY_INET4 { ADDRLEN_INET4 } else { ADDRLEN_INET6 };
        write_u32(memory, self.info + 8, addrlen)?;
        write_u32(memory, self.info + 20, 0)
    }
}

/// Fills in at most `max` structures of the chain that begins at `at`; how many. The chain is read as it is before the
/// first of them is written.
fn fill(
    memory: &mut [u8],
    mut at: u32,
    max: u32,
    hints: &Hints,
    (found, port): &(Vec<IpAddr>, u16),
) -> Result<u32, Errno> {
    let mut fillings = Vec::new();
    for ip in found {
        if fillings.len() == max as usize || at == 0 {
            break;
        }
        if let Some(filling) = Filling::of(memory, at, *ip, *port)? {
            at = read_u32(memory, at + 24)?;
            fillings.push(filling);
        }
    }
    fillings.iter().try_for_each(|filling| filling.write(memory, hints))?;
    Ok(fillings.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_numbers_or_known_names() {
        assert_eq!(port(b""), Some(0));
        assert_eq!(port(b"8080"), Some(8080));
        assert_eq!(port(b"https"), Some(443));
        for bad in [&b"65536"[..], b"-1", b"gopher", b"80 ", &[0xff]] {
            assert_eq!(port(bad), None);
        }
    }

    #[test]
    fn addresses_are_written_along_the_chain_and_no_further() {
        let mut memory = vec![0u8; 1024];
        // Two structures at 100 and 200, whose addresses are at 300 and 400 with room for IPv4 and for both.
        for (at, address, data, room, next) in [(100, 300, 500, 14u32, 200u32), (200, 400, 600, 26, 0)] {
            write_u32(&mut memory, at + 12, address).unwrap();
            write_u32(&mut memory, at + 24, next).unwrap();
            write_u32(&mut memory, address + 4, room).unwrap();
            write_u32(&mut memory, address + 8, data).unwrap();
        }
        let hints = Hints { flags: 0, family: 0, kind: 0, protocol: 0 };
        let v4: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
        let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
        let found = (vec![v6, v4, v6, v4], 258);
        assert_eq!(
            fill(&mut memory, 100, 9, &hints, &found),
            Ok(2),
            "no room for the first, no structure for the last"
        );
        assert_eq!(memory[500..506], [1, 2, 192, 0, 2, 1]);
        assert_eq!(memory[102..105], [1, 2, 1]);
        assert_eq!(memory[600..602], [1, 2]);
        assert_eq!(memory[606..622], Ipv6Addr::LOCALHOST.octets());
        assert_eq!(fill(&mut memory, 100, 1, &hints, &found), Ok(1));
        assert_eq!(fill(&mut memory, 1020, 1, &hints, &found), Err(Errno::Fault));
        // The second is bad: the first is not written.
        write_u32(&mut memory, 224, 1020).unwrap();
        let before = memory.clone();
        assert_eq!(fill(&mut memory, 100, 9, &hints, &(vec![v4; 3], 259)), Err(Errno::Fault));
        assert_eq!(memory, before);
    }
}
