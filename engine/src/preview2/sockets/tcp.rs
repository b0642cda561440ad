//! `wasi:sockets/tcp`: listening, accepting, connecting.

use std::net::SocketAddr;

use refrain_kernel::socket::Shutdown;
use refrain_kernel::{Errno, Stop};
use wasmtime::component::Resource;

use super::options::{self, default_options};
use super::{SocketResult, check_bindable, check_family, check_remote, check_unicast, local_address};
use crate::preview2::links::{Call, Halt, Interface, Links};
use crate::preview2::resources::{Input, Network, Output, Pollable, Tcp, TcpState};
use crate::preview2::wit::{IpAddressFamily, IpSocketAddress, ShutdownType, SocketError};
use crate::sockets::without_waiting;

type Streams = (Resource<Input>, Resource<Output>);
type Accepted = (Resource<Tcp>, Resource<Input>, Resource<Output>);
type Addressed = (Resource<Tcp>, Resource<Network>, IpSocketAddress);
type Own = (Resource<Tcp>,);

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut tcp = links.interface("wasi:sockets/tcp")?;
    tcp.resource::<Tcp>("tcp-socket")?;
    binding(&mut tcp)?;
    listening(&mut tcp)?;
    connecting(&mut tcp)?;
    addresses(&mut tcp)?;
    ending(&mut tcp)?;
    options::add_to(&mut tcp)?;
    let mut create = links.interface("wasi:sockets/tcp-create-socket")?;
    create.define("create-tcp-socket", |call, (family,): (IpAddressFamily,)| {
        let v6 = family == IpAddressFamily::Ipv6;
        match call.kernel.socket(v6, false) {
            Ok(fd) => {
                Ok(Ok(call.add(Tcp { fd, v6, state: TcpState::Unbound, ip: None, options: default_options() })?))
            }
            Err(errno) => Ok(Err(SocketError::from(errno))),
        }
    })
}

/// What a call that begins something tells of a socket in this state where another is wanted.
fn wrong_state(state: TcpState) -> SocketError {
    match state {
        TcpState::Binding | TcpState::ListenStarted | TcpState::Connecting(_) => SocketError::ConcurrencyConflict,
        _ => SocketError::InvalidState,
    }
}

fn binding(tcp: &mut Interface<'_>) -> wasmtime::Result<()> {
    tcp.define("[method]tcp-socket.start-bind", |call, (socket, _, address): Addressed| {
        let (address, known): (SocketAddr, Tcp) = (address.into(), *call.resources.get(&socket)?);
        if known.state != TcpState::Unbound {
            return Ok(Err(wrong_state(known.state)));
        }
        let bound = check_family(address.ip(), known.v6)
            .and_then(|()| check_unicast(address.ip()))
            .and_then(|()| check_bindable(address.ip()))
            .and_then(|()| call.kernel.bind(known.fd, address.port()).map_err(SocketError::from));
        if bound.is_ok() {
            let socket = call.resources.get_mut(&socket)?;
            (socket.state, socket.ip) = (TcpState::Binding, Some(address.ip()));
        }
        Ok(bound)
    })?;
    tcp.define("[method]tcp-socket.finish-bind", |call, (socket,): Own| {
        finish(call, &socket, TcpState::Binding, TcpState::Bound)
    })
}

/// Ends what was begun and is done already.
fn finish(
    call: &mut Call<'_>,
    socket: &Resource<Tcp>,
    begun: TcpState,
    done: TcpState,
) -> wasmtime::Result<SocketResult<()>> {
    let socket = call.resources.get_mut(socket)?;
    if socket.state != begun {
        return Ok(Err(SocketError::NotInProgress));
    }
    socket.state = done;
    Ok(Ok(()))
}

fn listening(tcp: &mut Interface<'_>) -> wasmtime::Result<()> {
    tcp.define("[method]tcp-socket.start-listen", |call, (socket,): Own| {
        let known = *call.resources.get(&socket)?;
        if known.state != TcpState::Bound {
            return Ok(Err(wrong_state(known.state)));
        }
        let listens = call.kernel.listen(known.fd, known.options.backlog).map_err(SocketError::from);
        if listens.is_ok() {
            call.resources.get_mut(&socket)?.state = TcpState::ListenStarted;
        }
        Ok(listens)
    })?;
    tcp.define("[method]tcp-socket.finish-listen", |call, (socket,): Own| {
        finish(call, &socket, TcpState::ListenStarted, TcpState::Listening)
    })?;
    tcp.define("[method]tcp-socket.set-listen-backlog-size", |call, (socket, value): (Resource<Tcp>, u64)| {
        let known = call.resources.get_mut(&socket)?;
        if value == 0 {
            return Ok(Err(SocketError::InvalidArgument));
        }
        let backlog = u32::try_from(value).unwrap_or(u32::MAX);
        match known.state {
            TcpState::Unbound | TcpState::Binding | TcpState::Bound => {}
            TcpState::ListenStarted | TcpState::Listening => {
                if let Err(errno) = call.kernel.listen(known.fd, backlog) {
                    return Ok(Err(SocketError::from(errno)));
                }
            }
            TcpState::Connecting(_) | TcpState::Connected | TcpState::Closed => {
                return Ok(Err(SocketError::InvalidState));
            }
        }
        known.options.backlog = backlog;
        Ok(Ok(()))
    })?;
    tcp.waiting("[method]tcp-socket.accept", |call, (socket,): &mut Own, _| accept(call, socket))
}

/// Takes a connection that waits; fails with `would-block` when none does. The guest may be told so in the next turn.
fn accept(call: &mut Call<'_>, socket: &Resource<Tcp>) -> Result<SocketResult<Accepted>, Halt> {
    let listener = *call.resources.get(socket)?;
    if listener.state != TcpState::Listening {
        return Ok(Err(SocketError::InvalidState));
    }
    match without_waiting(call.kernel, listener.fd, |kernel| kernel.accept(listener.fd, 0)) {
        Ok(fd) => {
            let accepted = call.add(Tcp { fd, state: TcpState::Connected, ..listener })?;
            let (input, output) = streams(call, fd)?;
            Ok(Ok((accepted, input, output)))
        }
        Err(Stop::Errno(errno)) => Ok(Err(SocketError::from(errno))),
        Err(Stop::Block) => Err(Halt::Block),
    }
}

fn streams(call: &mut Call<'_>, fd: u32) -> wasmtime::Result<Streams> {
    Ok((call.add(Input::Stream(fd))?, call.add(Output::Stream(fd))?))
}

fn connecting(tcp: &mut Interface<'_>) -> wasmtime::Result<()> {
    tcp.waiting("[method]tcp-socket.start-connect", |call, (socket, _, address): &mut Addressed, _| {
        let (address, known): (SocketAddr, Tcp) = ((*address).into(), *call.resources.get(socket)?);
        if !matches!(known.state, TcpState::Unbound | TcpState::Bound) {
            return Ok(Err(wrong_state(known.state)));
        }
        let checked = check_family(address.ip(), known.v6)
            .and_then(|()| check_unicast(address.ip()))
            .and_then(|()| check_remote(address));
        if let Err(error) = checked {
            return Ok(Err(error));
        }
        let begun = without_waiting(call.kernel, known.fd, |kernel| kernel.connect(known.fd, address, true));
        let (state, told) = match begun {
            Ok(()) | Err(Stop::Errno(Errno::Inprogress)) => (TcpState::Connecting(address), Ok(())),
            Err(Stop::Errno(errno)) => (TcpState::Closed, Err(SocketError::from(errno))),
            Err(Stop::Block) => return Err(Halt::Block),
        };
        call.resources.get_mut(socket)?.state = state;
        Ok(told)
    })?;
    tcp.waiting("[method]tcp-socket.finish-connect", |call, (socket,): &mut Own, _| finish_connect(call, socket))
}

fn finish_connect(call: &mut Call<'_>, socket: &Resource<Tcp>) -> Result<SocketResult<Streams>, Halt> {
    let Tcp { fd, state: TcpState::Connecting(address), .. } = *call.resources.get(socket)? else {
        return Ok(Err(SocketError::NotInProgress));
    };
    match call.kernel.connect(fd, address, false) {
        Ok(()) => {
            call.resources.get_mut(socket)?.state = TcpState::Connected;
            Ok(Ok(streams(call, fd)?))
        }
        Err(Stop::Block) => call.kernel.would_block().map_or(Err(Halt::Block), |()| Ok(Err(SocketError::WouldBlock))),
        Err(Stop::Errno(errno)) => {
            call.resources.get_mut(socket)?.state = TcpState::Closed;
            Ok(Err(SocketError::from(errno)))
        }
    }
}

fn addresses(tcp: &mut Interface<'_>) -> wasmtime::Result<()> {
    tcp.define("[method]tcp-socket.local-address", |call, (socket,): Own| {
        let Tcp { fd, state, ip, .. } = *call.resources.get(&socket)?;
        Ok(match state {
            TcpState::Unbound | TcpState::Connecting(_) | TcpState::Closed => Err(SocketError::InvalidState),
            _ => local_address(call.kernel.local_address(fd), ip).map(IpSocketAddress::from),
        })
    })?;
    tcp.define("[method]tcp-socket.remote-address", |call, (socket,): Own| {
        let Tcp { fd, state, .. } = *call.resources.get(&socket)?;
        if state != TcpState::Connected {
            return Ok(Err(SocketError::InvalidState));
        }
        Ok(call.kernel.peer_address(fd).map(IpSocketAddress::from).map_err(SocketError::from))
    })?;
    tcp.define("[method]tcp-socket.is-listening", |call, (socket,): Own| {
        Ok(call.resources.get(&socket)?.state == TcpState::Listening)
    })?;
    tcp.define("[method]tcp-socket.address-family", |call, (socket,): Own| {
        Ok(if call.resources.get(&socket)?.v6 { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 })
    })
}

fn ending(tcp: &mut Interface<'_>) -> wasmtime::Result<()> {
    tcp.define("[method]tcp-socket.subscribe", |call, (socket,): Own| {
        let fd = call.resources.get(&socket)?.fd;
        call.add(Pollable::Socket(fd))
    })?;
    tcp.define("[method]tcp-socket.shutdown", |call, (socket, how): (Resource<Tcp>, ShutdownType)| {
        let Tcp { fd, state, .. } = *call.resources.get(&socket)?;
        if state != TcpState::Connected {
            return Ok(Err(SocketError::InvalidState));
        }
        let how = Shutdown {
            read: matches!(how, ShutdownType::Receive | ShutdownType::Both),
            write: matches!(how, ShutdownType::Send | ShutdownType::Both),
        };
        Ok(call.kernel.shutdown(fd, how).map_err(SocketError::from))
    })
}
