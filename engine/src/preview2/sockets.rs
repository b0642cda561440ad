//! `wasi:sockets`: sockets of the kernel, with the states that these interfaces have besides.

mod lookup;
pub(crate) mod properties;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use refrain_kernel::Errno;
use wasmtime::component::Resource;

use super::links::Links;
use super::resources::{IoError, Network};
use super::wit::SocketError;

type SocketResult<T> = Result<T, SocketError>;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut network = links.interface("wasi:sockets/network")?;
    network.resource::<Network>("network")?;
    network.define("network-error-code", |call, (error,): (Resource<IoError>,)| {
        let error = call.resources.get(&error)?;
        Ok((!error.is_file).then(|| SocketError::from(error.errno)))
    })?;
    links.interface("wasi:sockets/instance-network")?.define("instance-network", |call, (): ()| call.add(Network))?;
    lookup::add_to(links)?;
    tcp::add_to(links)?;
    udp::add_to(links)
}

/// The version whose interfaces these are.
struct Version2;

impl properties::Version for Version2 {
    type Error = SocketError;

    fn getter(names: &properties::Names) -> &'static str {
        names.plain
    }
}

/// What is `invalid-state` in both versions.
const WRONG_STATE: Errno = Errno::Notconn;
/// What is `invalid-argument` in both versions.
const WRONG_VALUE: Errno = Errno::Inval;
/// What is `address-not-bindable` in both versions.
const NOT_BINDABLE: Errno = Errno::Addrnotavail;

fn valid(is_valid: bool) -> Result<(), Errno> {
    if is_valid { Ok(()) } else { Err(WRONG_VALUE) }
}

/// An address of a socket's family; one of IPv4 in a form of IPv6 is of none.
pub(crate) fn check_family(ip: IpAddr, v6: bool) -> Result<(), Errno> {
    let is_of_one_family = match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.to_ipv4().is_none() || ip.is_unspecified() || ip.is_loopback(),
    };
    valid(is_of_one_family && ip.is_ipv6() == v6)
}

/// An address of one host, as both ends of a connection have.
pub(crate) fn check_unicast(ip: IpAddr) -> Result<(), Errno> {
    valid(!ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST))
}

/// Somebody to send to.
pub(crate) fn check_remote(address: SocketAddr) -> Result<(), Errno> {
    valid(!address.ip().is_unspecified() && address.port() != 0)
}

/// An address that a socket can have. All are the guest's own but those for documentation, which nobody has.
pub(crate) fn check_bindable(ip: IpAddr) -> Result<(), Errno> {
    let is_documentation = match ip {
        IpAddr::V4(ip) => ip.is_documentation(),
        IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0xdb8],
    };
    if is_documentation { Err(NOT_BINDABLE) } else { Ok(()) }
}

/// The kernel knows a socket's port; its address is the one that it was bound to.
pub(crate) fn local_address(known: Result<SocketAddr, Errno>, ip: Option<IpAddr>) -> Result<SocketAddr, Errno> {
    let mut known = known?;
    if let (Some(ip), true) = (ip, known.ip().is_unspecified()) {
        known.set_ip(ip);
    }
    Ok(known)
}

/// The local address as the peer of a datagram socket sees it: what is bound to every address sends to all of loopback
/// from the one address of loopback.
pub(crate) fn as_seen_by(mut local: SocketAddr, peer: Option<SocketAddr>) -> SocketAddr {
    if local.ip().is_unspecified() && peer.is_some_and(|peer| peer.ip().is_loopback()) {
        local.set_ip(if local.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
    }
    local
}

/// To whom a datagram goes: to whom its socket is connected, or to whom it names itself.
pub(crate) fn recipient(peer: Option<SocketAddr>, named: Option<SocketAddr>, v6: bool) -> Result<SocketAddr, Errno> {
    let to = match (peer, named) {
        (Some(peer), named) if named.is_none_or(|named| named == peer) => peer,
        (None, Some(named)) => named,
        _ => return Err(WRONG_VALUE),
    };
    check_family(to.ip(), v6).and_then(|()| check_remote(to)).map(|()| to)
}
