//! `wasi:sockets`: sockets of the kernel, with the states that these interfaces have besides.

mod lookup;
mod options;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use refrain_kernel::Errno;

use super::wit::SocketError;
use crate::preview2::links::Links;

type SocketResult<T> = Result<T, SocketError>;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut types = links.interface("wasi:sockets/types")?;
    tcp::add_to(&mut types)?;
    udp::add_to(&mut types)?;
    lookup::add_to(links)
}

fn valid(is_valid: bool) -> SocketResult<()> {
    if is_valid { Ok(()) } else { Err(SocketError::InvalidArgument) }
}

/// An address of a socket's family; one of IPv4 in a form of IPv6 is of none.
fn check_family(ip: IpAddr, v6: bool) -> SocketResult<()> {
    let is_of_one_family = match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.to_ipv4().is_none() || ip.is_unspecified() || ip.is_loopback(),
    };
    valid(is_of_one_family && ip.is_ipv6() == v6)
}

/// An address of one host, as both ends of a connection have.
fn check_unicast(ip: IpAddr) -> SocketResult<()> {
    valid(!ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST))
}

/// Somebody to send to.
fn check_remote(address: SocketAddr) -> SocketResult<()> {
    valid(!address.ip().is_unspecified() && address.port() != 0)
}

/// An address that a socket can have. All are the guest's own but those for documentation, which nobody has.
fn check_bindable(ip: IpAddr) -> SocketResult<()> {
    let is_documentation = match ip {
        IpAddr::V4(ip) => ip.is_documentation(),
        IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0xdb8],
    };
    if is_documentation { Err(SocketError::AddressNotBindable) } else { Ok(()) }
}

/// The kernel knows a socket's port; its address is the one that it was bound to.
fn local_address(known: Result<SocketAddr, Errno>, ip: Option<IpAddr>) -> SocketResult<SocketAddr> {
    let mut known = known?;
    if let (Some(ip), true) = (ip, known.ip().is_unspecified()) {
        known.set_ip(ip);
    }
    Ok(known)
}
