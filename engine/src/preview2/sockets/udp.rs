//! `wasi:sockets/udp`: datagrams.

use std::net::SocketAddr;

use refrain_kernel::{Errno, Stop};
use wasmtime::component::Resource;

use super::properties::{self, datagram_socket};
use super::{SocketResult, Version2, as_seen_by, check_bindable, check_family, check_remote, local_address, recipient};
use crate::preview2::links::{Call, Halt, Interface, Links};
use crate::preview2::resources::{IncomingDatagrams, Network, OutgoingDatagrams, Pollable, Udp, UdpState, fault};
use crate::preview2::wit::{IncomingDatagram, IpAddressFamily, IpSocketAddress, OutgoingDatagram, SocketError};
use crate::sockets::without_waiting;

/// The most datagrams of one call.
const MAX_DATAGRAMS: u64 = 64;
/// The longest datagram.
const MAX_BYTES: usize = refrain_wire::outward::MAX_DATAGRAM_BYTES;

type Own = (Resource<Udp>,);
type Both = (Resource<IncomingDatagrams>, Resource<OutgoingDatagrams>);

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut udp = links.interface("wasi:sockets/udp")?;
    udp.resource::<Udp>("udp-socket")?;
    udp.resource::<IncomingDatagrams>("incoming-datagram-stream")?;
    udp.resource::<OutgoingDatagrams>("outgoing-datagram-stream")?;
    binding(&mut udp)?;
    streams(&mut udp)?;
    addresses(&mut udp)?;
    properties::of_datagrams::<Version2>(&mut udp)?;
    receiving(&mut udp)?;
    sending(&mut udp)?;
    let mut create = links.interface("wasi:sockets/udp-create-socket")?;
    create.define("create-udp-socket", |call, (family,): (IpAddressFamily,)| {
        match datagram_socket(call.kernel, family) {
            Ok(socket) => Ok(Ok(call.add(socket)?)),
            Err(errno) => Ok(Err(SocketError::from(errno))),
        }
    })
}

fn binding(udp: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Addressed = (Resource<Udp>, Resource<Network>, IpSocketAddress);
    udp.define("[method]udp-socket.start-bind", |call, (socket, _, address): Addressed| {
        let (address, known): (SocketAddr, Udp) = (address.into(), *call.resources.get(&socket)?);
        if known.state != UdpState::Unbound {
            let in_progress = known.state == UdpState::Binding;
            return Ok(Err(if in_progress { SocketError::ConcurrencyConflict } else { SocketError::InvalidState }));
        }
        let bound = check_family(address.ip(), known.v6)
            .and_then(|()| check_bindable(address.ip()))
            .and_then(|()| call.kernel.bind(known.fd, address.port()))
            .map_err(SocketError::from);
        if bound.is_ok() {
            let socket = call.resources.get_mut(&socket)?;
            (socket.state, socket.ip) = (UdpState::Binding, Some(address.ip()));
        }
        Ok(bound)
    })?;
    udp.define("[method]udp-socket.finish-bind", |call, (socket,): Own| {
        let socket = call.resources.get_mut(&socket)?;
        if socket.state != UdpState::Binding {
            return Ok(Err(SocketError::NotInProgress));
        }
        socket.state = UdpState::Bound;
        Ok(Ok(()))
    })
}

fn streams(udp: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Connected = (Resource<Udp>, Option<IpSocketAddress>);
    udp.waiting("[method]udp-socket.stream", |call, (socket, remote): &mut Connected, first| {
        let (remote, known) = (remote.map(SocketAddr::from), *call.resources.get(socket)?);
        if known.state != UdpState::Bound {
            return Ok(Err(SocketError::InvalidState));
        }
        let connected = match remote {
            None => call.kernel.disconnect_datagrams(known.fd).map_err(Stop::from),
            Some(remote) => match check_family(remote.ip(), known.v6).and_then(|()| check_remote(remote)) {
                Ok(()) => call.kernel.connect(known.fd, remote, first),
                Err(errno) => return Ok(Err(errno.into())),
            },
        };
        match connected {
            Ok(()) => {}
            Err(Stop::Errno(errno)) => return Ok(Err(SocketError::from(errno))),
            Err(Stop::Block) => return Err(Halt::Block),
        }
        call.resources.get_mut(socket)?.peer = remote;
        let incoming = call.add(IncomingDatagrams { fd: known.fd })?;
        let outgoing = call.add(OutgoingDatagrams { fd: known.fd, v6: known.v6, peer: remote, permitted: 0 })?;
        Ok::<SocketResult<Both>, Halt>(Ok((incoming, outgoing)))
    })
}

fn addresses(udp: &mut Interface<'_>) -> wasmtime::Result<()> {
    udp.define("[method]udp-socket.local-address", |call, (socket,): Own| {
        let Udp { fd, state, ip, peer, .. } = *call.resources.get(&socket)?;
        if state == UdpState::Unbound {
            return Ok(Err(SocketError::InvalidState));
        }
        let local = local_address(call.kernel.local_address(fd), ip);
        Ok(local.map(|local| IpSocketAddress::from(as_seen_by(local, peer))).map_err(SocketError::from))
    })?;
    udp.define("[method]udp-socket.subscribe", |call, (_,): Own| call.add(Pollable::Ready))
}

fn receiving(udp: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Wanted = (Resource<IncomingDatagrams>, u64);
    udp.waiting("[method]incoming-datagram-stream.receive", |call, (stream, most): &mut Wanted, _| {
        let fd = call.resources.get(stream)?.fd;
        receive(call, fd, (*most).min(MAX_DATAGRAMS))
    })?;
    udp.define("[method]incoming-datagram-stream.subscribe", |call, (stream,): (Resource<IncomingDatagrams>,)| {
        let fd = call.resources.get(&stream)?.fd;
        call.add(Pollable::Read(fd))
    })
}

/// The datagrams that are there, so many at most.
fn receive(call: &mut Call<'_>, fd: u32, most: u64) -> Result<SocketResult<Vec<IncomingDatagram>>, Halt> {
    if most == 0 {
        return Ok(Ok(Vec::new()));
    }
    let (mut received, mut buffer) = (Vec::new(), vec![0; MAX_BYTES]);
    call.kernel.copied(MAX_BYTES);
    while (received.len() as u64) < most {
        match without_waiting(call.kernel, fd, |kernel| kernel.recv_from(fd, &mut buffer, false)) {
            Ok(datagram) => received.push(IncomingDatagram {
                data: buffer[..datagram.copied].to_vec(),
                remote_address: datagram.peer.into(),
            }),
            Err(_) if !received.is_empty() => break,
            Err(Stop::Errno(Errno::Again)) => break,
            Err(Stop::Errno(errno)) => return Ok(Err(SocketError::from(errno))),
            Err(Stop::Block) => return Err(Halt::Block),
        }
    }
    Ok(Ok(received))
}

fn sending(udp: &mut Interface<'_>) -> wasmtime::Result<()> {
    udp.define("[method]outgoing-datagram-stream.check-send", |call, (stream,): (Resource<OutgoingDatagrams>,)| {
        call.resources.get_mut(&stream)?.permitted = MAX_DATAGRAMS;
        Ok(Ok::<u64, SocketError>(MAX_DATAGRAMS))
    })?;
    type Sent = (Resource<OutgoingDatagrams>, Vec<OutgoingDatagram>);
    udp.waiting("[method]outgoing-datagram-stream.send", |call, (stream, datagrams): &mut Sent, first| {
        // One that waits was permitted when it was made.
        if first && !datagrams.is_empty() {
            let permitted = std::mem::take(&mut call.resources.get_mut(stream)?.permitted);
            if datagrams.len() as u64 > permitted {
                let count = datagrams.len();
                return Err(fault(format!("sends {count} datagrams where check-send permits {permitted}")).into());
            }
        }
        send(call, stream, datagrams)
    })?;
    udp.define("[method]outgoing-datagram-stream.subscribe", |call, (_,): (Resource<OutgoingDatagrams>,)| {
        // Datagrams wait for nobody.
        call.add(Pollable::Ready)
    })
}

/// Sends one after the other until one cannot be sent; how many were. What is wrong with one is told when it is the first.
fn send(
    call: &mut Call<'_>,
    stream: &Resource<OutgoingDatagrams>,
    datagrams: &[OutgoingDatagram],
) -> Result<SocketResult<u64>, Halt> {
    let (fd, v6, peer) = {
        let stream = call.resources.get(stream)?;
        (stream.fd, stream.v6, stream.peer)
    };
    let mut sent = 0;
    for datagram in datagrams {
        let to = match recipient(peer, datagram.remote_address.map(SocketAddr::from), v6) {
            Ok(to) => to,
            Err(_) if sent > 0 => break,
            Err(errno) => return Ok(Err(errno.into())),
        };
        match call.kernel.send_to(fd, &datagram.data, Some(to)) {
            Ok(_) => sent += 1,
            Err(_) if sent > 0 => break,
            Err(Stop::Errno(errno)) => return Ok(Err(SocketError::from(errno))),
            Err(Stop::Block) => return Err(Halt::Block),
        }
    }
    Ok(Ok(sent))
}
