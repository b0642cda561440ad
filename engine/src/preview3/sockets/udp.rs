//! Datagram sockets.

use std::net::SocketAddr;

use refrain_kernel::{Errno, Stop};
use wasmtime::component::Resource;

use super::{SocketResult, Version3};
use crate::preview2::links::{Call, Halt, Interface, settled};
use crate::preview2::resources::{Udp, UdpState};
use crate::preview2::sockets::properties::{self, datagram_socket};
use crate::preview2::sockets::{as_seen_by, check_bindable, check_family, check_remote, local_address, recipient};
use crate::preview2::wit::{IpAddressFamily, IpSocketAddress};
use crate::preview3::wit::SocketError;

/// The longest datagram.
const MAX_BYTES: usize = refrain_wire::outward::MAX_DATAGRAM_BYTES;

type Own = (Resource<Udp>,);
type Addressed = (Resource<Udp>, IpSocketAddress);

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.resource::<Udp>("udp-socket")?;
    types.define("[static]udp-socket.create", |call, (family,): (IpAddressFamily,)| {
        match datagram_socket(call.kernel, family) {
            Ok(socket) => Ok(Ok(call.add(socket)?)),
            Err(errno) => Ok(Err(SocketError::from(errno))),
        }
    })?;
    binding(types)?;
    type Sent = (Resource<Udp>, Vec<u8>, Option<IpSocketAddress>);
    types.concurrent("[method]udp-socket.send", |call, (socket, data, to): &mut Sent, _| {
        send(call, socket, data, to.map(SocketAddr::from))
    })?;
    types.concurrent("[method]udp-socket.receive", |call, (socket,): &mut Own, _| receive(call, socket))?;
    local_addresses(types)?;
    properties::of_datagrams::<Version3>(types)
}

fn binding(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.define("[method]udp-socket.bind", |call, (socket, address): Addressed| {
        let (address, known): (SocketAddr, Udp) = (address.into(), *call.resources.get(&socket)?);
        if known.state != UdpState::Unbound {
            return Ok(Err(SocketError::InvalidState));
        }
        let bound = check_family(address.ip(), known.v6)
            .and_then(|()| check_bindable(address.ip()))
            .and_then(|()| call.kernel.bind(known.fd, address.port()))
            .map_err(SocketError::from);
        if bound.is_ok() {
            let socket = call.resources.get_mut(&socket)?;
            (socket.state, socket.ip) = (UdpState::Bound, Some(address.ip()));
        }
        Ok(bound)
    })?;
    types.define("[method]udp-socket.connect", |call, (socket, address): Addressed| {
        let (address, known): (SocketAddr, Udp) = (address.into(), *call.resources.get(&socket)?);
        let connected = check_family(address.ip(), known.v6)
            .and_then(|()| check_remote(address))
            .and_then(|()| bind_somewhere(call, &known))
            .and_then(|()| match call.kernel.connect(known.fd, address, true) {
                Ok(()) => Ok(()),
                Err(Stop::Errno(errno)) => Err(errno),
                Err(Stop::Block) => unreachable!("to whom datagrams go is known at once"),
            })
            .map_err(SocketError::from);
        if connected.is_ok() {
            let socket = call.resources.get_mut(&socket)?;
            (socket.state, socket.peer) = (UdpState::Bound, Some(address));
        }
        Ok(connected)
    })?;
    types.define("[method]udp-socket.disconnect", |call, (socket,): Own| {
        let known = *call.resources.get(&socket)?;
        if known.peer.is_none() {
            return Ok(Err(SocketError::InvalidState));
        }
        let left = call.kernel.disconnect_datagrams(known.fd).map_err(SocketError::from);
        if left.is_ok() {
            call.resources.get_mut(&socket)?.peer = None;
        }
        Ok(left)
    })
}

/// Gives a socket a port of the kernel's choice, if it has none.
fn bind_somewhere(call: &mut Call<'_>, known: &Udp) -> Result<(), Errno> {
    match known.state {
        UdpState::Unbound => call.kernel.bind(known.fd, 0),
        _ => Ok(()),
    }
}

fn send(
    call: &mut Call<'_>,
    socket: &Resource<Udp>,
    data: &[u8],
    named: Option<SocketAddr>,
) -> Result<SocketResult<()>, Halt> {
    let known = *call.resources.get(socket)?;
    if data.len() > MAX_BYTES {
        return Ok(Err(SocketError::DatagramTooLarge));
    }
    let to = recipient(known.peer, named, known.v6).and_then(|to| bind_somewhere(call, &known).map(|()| to));
    let to = match to {
        Ok(to) => to,
        Err(errno) => return Ok(Err(errno.into())),
    };
    if known.state == UdpState::Unbound {
        call.resources.get_mut(socket)?.state = UdpState::Bound;
    }
    Ok(settled(call.kernel.send_to(known.fd, data, Some(to)))?.map(drop).map_err(SocketError::from))
}

type Received = (Vec<u8>, IpSocketAddress);

fn receive(call: &mut Call<'_>, socket: &Resource<Udp>) -> Result<SocketResult<Received>, Halt> {
    let known = *call.resources.get(socket)?;
    if known.state == UdpState::Unbound {
        return Ok(Err(SocketError::InvalidState));
    }
    let mut buffer = vec![0; MAX_BYTES];
    call.kernel.copied(MAX_BYTES);
    Ok(match settled(call.kernel.recv_from(known.fd, &mut buffer, false))? {
        Ok(datagram) => {
            buffer.truncate(datagram.copied);
            Ok((buffer, datagram.peer.into()))
        }
        Err(errno) => Err(SocketError::from(errno)),
    })
}

fn local_addresses(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.define("[method]udp-socket.get-local-address", |call, (socket,): Own| {
        let Udp { fd, state, ip, peer, .. } = *call.resources.get(&socket)?;
        if state == UdpState::Unbound {
            return Ok(Err(SocketError::InvalidState));
        }
        let local = local_address(call.kernel.local_address(fd), ip);
        Ok(local.map(|local| IpSocketAddress::from(as_seen_by(local, peer))).map_err(SocketError::from))
    })
}
