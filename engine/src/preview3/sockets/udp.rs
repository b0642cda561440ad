//! Datagram sockets.

use std::net::SocketAddr;

use refrain_kernel::Stop;
use wasmtime::component::Resource;

use super::{SocketResult, check_bindable, check_family, check_remote, local_address};
use crate::preview2::links::{Call, Halt, Interface, settled};
use crate::preview2::resources::{Udp, UdpState};
use crate::preview2::sockets::options::positive;
use crate::preview2::wit::{IpAddressFamily, IpSocketAddress};
use crate::preview3::wit::SocketError;

/// The longest datagram.
const MAX_BYTES: usize = refrain_wire::outward::MAX_DATAGRAM_BYTES;

type Own = (Resource<Udp>,);
type Addressed = (Resource<Udp>, IpSocketAddress);

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.resource::<Udp>("udp-socket")?;
    types.define("[static]udp-socket.create", |call, (family,): (IpAddressFamily,)| {
        let v6 = family == IpAddressFamily::Ipv6;
        let fd = match call.kernel.socket(v6, true) {
            Ok(fd) => fd,
            Err(errno) => return Ok(Err(SocketError::from(errno))),
        };
        let (receive_buffer_bytes, send_buffer_bytes) = (None, None);
        let (state, ip, peer, hop_limit) = (UdpState::Unbound, None, None, 64);
        let socket = Udp { fd, v6, state, ip, peer, hop_limit, receive_buffer_bytes, send_buffer_bytes };
        Ok(Ok(call.add(socket)?))
    })?;
    binding(types)?;
    type Sent = (Resource<Udp>, Vec<u8>, Option<IpSocketAddress>);
    types.concurrent("[method]udp-socket.send", |call, (socket, data, to): &mut Sent, _| {
        send(call, socket, data, to.map(SocketAddr::from))
    })?;
    types.concurrent("[method]udp-socket.receive", |call, (socket,): &mut Own, _| receive(call, socket))?;
    addresses(types)?;
    options(types)
}

fn binding(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.define("[method]udp-socket.bind", |call, (socket, address): Addressed| {
        let (address, known): (SocketAddr, Udp) = (address.into(), *call.resources.get(&socket)?);
        if known.state != UdpState::Unbound {
            return Ok(Err(SocketError::InvalidState));
        }
        let bound = check_family(address.ip(), known.v6)
            .and_then(|()| check_bindable(address.ip()))
            .and_then(|()| call.kernel.bind(known.fd, address.port()).map_err(SocketError::from));
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
                Err(Stop::Errno(errno)) => Err(SocketError::from(errno)),
                Err(Stop::Block) => unreachable!("to whom datagrams go is known at once"),
            });
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
fn bind_somewhere(call: &mut Call<'_>, known: &Udp) -> SocketResult<()> {
    match known.state {
        UdpState::Unbound => call.kernel.bind(known.fd, 0).map_err(SocketError::from),
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
    let to = match recipient(&known, named).and_then(|to| bind_somewhere(call, &known).map(|()| to)) {
        Ok(to) => to,
        Err(error) => return Ok(Err(error)),
    };
    if known.state == UdpState::Unbound {
        call.resources.get_mut(socket)?.state = UdpState::Bound;
    }
    Ok(settled(call.kernel.send_to(known.fd, data, Some(to)))?.map(drop).map_err(SocketError::from))
}

/// To whom a datagram goes: to whom the socket is connected, or to whom it names itself.
fn recipient(known: &Udp, named: Option<SocketAddr>) -> SocketResult<SocketAddr> {
    let to = match (known.peer, named) {
        (Some(peer), named) if named.is_none_or(|named| named == peer) => peer,
        (None, Some(named)) => named,
        _ => return Err(SocketError::InvalidArgument),
    };
    check_family(to.ip(), known.v6).and_then(|()| check_remote(to)).map(|()| to)
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

fn addresses(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.define("[method]udp-socket.get-local-address", |call, (socket,): Own| {
        let Udp { fd, state, ip, peer, .. } = *call.resources.get(&socket)?;
        if state == UdpState::Unbound {
            return Ok(Err(SocketError::InvalidState));
        }
        let local = local_address(call.kernel.local_address(fd), ip);
        Ok(local.map(|local| IpSocketAddress::from(as_seen_by(local, peer))))
    })?;
    types.define("[method]udp-socket.get-remote-address", |call, (socket,): Own| {
        let peer = call.resources.get(&socket)?.peer;
        Ok(peer.map(IpSocketAddress::from).ok_or(SocketError::InvalidState))
    })?;
    types.define("[method]udp-socket.get-address-family", |call, (socket,): Own| {
        Ok(if call.resources.get(&socket)?.v6 { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 })
    })
}

/// What is bound to every address and connected to loopback is on loopback.
fn as_seen_by(mut local: SocketAddr, peer: Option<SocketAddr>) -> SocketAddr {
    if let Some(peer) = peer.filter(|peer| local.ip().is_unspecified() && peer.ip().is_loopback()) {
        local.set_ip(peer.ip());
    }
    local
}

/// What is set is kept and told, and does nothing else: routes and the buffers of systems are the proxy's.
fn options(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.define("[method]udp-socket.get-unicast-hop-limit", |call, (socket,): Own| {
        Ok(Ok::<u8, SocketError>(call.resources.get(&socket)?.hop_limit))
    })?;
    types.define("[method]udp-socket.set-unicast-hop-limit", |call, (socket, hops): (Resource<Udp>, u8)| {
        if hops == 0 {
            return Ok(Err(SocketError::InvalidArgument));
        }
        call.resources.get_mut(&socket)?.hop_limit = hops;
        Ok(Ok(()))
    })?;
    type Field = fn(&mut Udp) -> &mut Option<u64>;
    let sizes: [(&str, &str, Field); 2] = [
        ("[method]udp-socket.get-receive-buffer-size", "[method]udp-socket.set-receive-buffer-size", |socket| {
            &mut socket.receive_buffer_bytes
        }),
        ("[method]udp-socket.get-send-buffer-size", "[method]udp-socket.set-send-buffer-size", |socket| {
            &mut socket.send_buffer_bytes
        }),
    ];
    for (get, set, field) in sizes {
        types.define(get, move |call, (socket,): Own| {
            let own = call.kernel.config().socket_buffer_bytes;
            Ok(Ok::<u64, SocketError>(field(call.resources.get_mut(&socket)?).unwrap_or(own)))
        })?;
        types.define(set, move |call, (socket, bytes): (Resource<Udp>, u64)| {
            let socket = call.resources.get_mut(&socket)?;
            Ok(match positive(&bytes) {
                Some(bytes) => {
                    *field(socket) = Some(bytes);
                    Ok(())
                }
                None => Err(SocketError::InvalidArgument),
            })
        })?;
    }
    Ok(())
}
