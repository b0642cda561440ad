//! `wasi:sockets`: sockets of the kernel, with the states that these interfaces have besides.

mod lookup;
pub(crate) mod options;
mod tcp;
mod udp;

use std::net::{IpAddr, SocketAddr};

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

/// An address that a socket of this family can have: no multicast, and none of IPv4 in the form of IPv6.
fn check_local(address: SocketAddr, v6: bool) -> SocketResult<()> {
    let is_unicast = match address.ip() {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_multicast() && ip.to_ipv4_mapped().is_none(),
    };
    if is_unicast && address.is_ipv6() == v6 { Ok(()) } else { Err(SocketError::InvalidArgument) }
}

/// An address that a socket of this family can send to.
fn check_remote(address: SocketAddr, v6: bool) -> SocketResult<()> {
    check_local(address, v6)?;
    let is_somebody = !address.ip().is_unspecified() && address.port() != 0;
    if is_somebody { Ok(()) } else { Err(SocketError::InvalidArgument) }
}

/// The kernel knows a socket's port; its address is the one that it was bound to.
fn local_address(known: Result<SocketAddr, Errno>, ip: Option<IpAddr>) -> SocketResult<SocketAddr> {
    let mut known = known.map_err(SocketError::from)?;
    if let (Some(ip), true) = (ip, known.ip().is_unspecified()) {
        known.set_ip(ip);
    }
    Ok(known)
}
