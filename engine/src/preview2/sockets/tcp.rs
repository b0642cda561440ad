//! `wasi:sockets/tcp`: listening, accepting, connecting.

use std::net::SocketAddr;

use refrain_kernel::socket::Shutdown;
use refrain_kernel::{Errno, Stop};
use wasmtime::component::Resource;

use super::properties::{self, StreamSocketKind, stream_socket};
use super::{SocketResult, Version2, check_bindable, check_family, check_remote, check_unicast};
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
    ending(&mut tcp)?;
    properties::of_streams::<Version2, Tcp>(&mut tcp)?;
    let mut create = links.interface("wasi:sockets/tcp-create-socket")?;
    create.define("create-tcp-socket", |call, (family,): (IpAddressFamily,)| match stream_socket(call.kernel, family) {
        Ok(socket) => Ok(Ok(call.add(socket)?)),
        Err(errno) => Ok(Err(SocketError::from(errno))),
    })
}

impl StreamSocketKind for Tcp {
    fn tcp(&self) -> &Tcp {
        self
    }

    fn tcp_mut(&mut self) -> &mut Tcp {
        self
    }
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
            .and_then(|()| call.kernel.bind(known.fd, address.port()))
            .map_err(SocketError::from);
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
        if let Err(errno) = checked {
            return Ok(Err(errno.into()));
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
