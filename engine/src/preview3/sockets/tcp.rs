//! Stream sockets: listening and accepting, connecting, and the streams of a connection.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use refrain_kernel::poll::Interest;
use refrain_kernel::{Errno, Stop};
use wasmtime::component::{Destination, FutureReader, Resource, StreamProducer, StreamReader, StreamResult};
use wasmtime::{AsContextMut, StoreContextMut};

use super::{SocketResult, Version3};
use crate::host::Host;
use crate::preview2::links::{Call, Halt, Interface, call};
use crate::preview2::resources::{StreamSocket, Tcp, TcpState};
use crate::preview2::sockets::properties::{self, StreamSocketKind, stream_socket};
use crate::preview2::sockets::{check_bindable, check_family, check_remote, check_unicast};
use crate::preview2::wit::{IpAddressFamily, IpSocketAddress};
use crate::preview3::streams::{End, Keeper, Read, read, unread, unwritten, write};
use crate::preview3::waits::{Wait, attempt, until_ready};
use crate::preview3::wit::SocketError;

type Own = (Resource<StreamSocket>,);
type Addressed = (Resource<StreamSocket>, IpSocketAddress);

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.resource::<StreamSocket>("tcp-socket")?;
    types.define("[static]tcp-socket.create", |call, (family,): (IpAddressFamily,)| {
        match stream_socket(call.kernel, family) {
            Ok(tcp) => Ok(Ok(call.add(StreamSocket { tcp, sends: false, receives: false })?)),
            Err(errno) => Ok(Err(SocketError::from(errno))),
        }
    })?;
    types
        .define("[method]tcp-socket.bind", |call, (socket, address): Addressed| bind(call, &socket, address.into()))?;
    types.concurrent("[method]tcp-socket.connect", |call, (socket, address): &mut Addressed, first| {
        connect(call, socket, (*address).into(), first)
    })?;
    types.piping("[method]tcp-socket.listen", |store, (socket,): Own| listen(store, &socket))?;
    types.piping("[method]tcp-socket.send", |store, (socket, data): (Resource<StreamSocket>, StreamReader<u8>)| {
        send(store, &socket, data)
    })?;
    types.piping("[method]tcp-socket.receive", |store, (socket,): Own| receive(store, &socket))?;
    properties::of_streams::<Version3, StreamSocket>(types)
}

impl StreamSocketKind for StreamSocket {
    fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    fn tcp_mut(&mut self) -> &mut Tcp {
        &mut self.tcp
    }
}

fn bind(
    call: &mut Call<'_>,
    socket: &Resource<StreamSocket>,
    address: SocketAddr,
) -> wasmtime::Result<SocketResult<()>> {
    let known = call.resources.get(socket)?.tcp;
    if known.state != TcpState::Unbound {
        return Ok(Err(SocketError::InvalidState));
    }
    let bound = check_family(address.ip(), known.v6)
        .and_then(|()| check_unicast(address.ip()))
        .and_then(|()| check_bindable(address.ip()))
        .and_then(|()| match address.port() {
            port if port > 0 && call.kernel.is_port_taken(port, known.v6) => Err(Errno::Addrinuse),
            port => call.kernel.bind(known.fd, port),
        })
        .map_err(SocketError::from);
    if bound.is_ok() {
        let tcp = &mut call.resources.get_mut(socket)?.tcp;
        (tcp.state, tcp.ip) = (TcpState::Bound, Some(address.ip()));
    }
    Ok(bound)
}

fn connect(
    call: &mut Call<'_>,
    socket: &Resource<StreamSocket>,
    address: SocketAddr,
    first: bool,
) -> Result<SocketResult<()>, Halt> {
    let known = call.resources.get(socket)?.tcp;
    if first {
        if !matches!(known.state, TcpState::Unbound | TcpState::Bound) {
            return Ok(Err(SocketError::InvalidState));
        }
        let checked = check_family(address.ip(), known.v6)
            .and_then(|()| check_unicast(address.ip()))
            .and_then(|()| check_remote(address));
        if let Err(errno) = checked {
            return Ok(Err(errno.into()));
        }
    }
    let (state, told) = match call.kernel.connect(known.fd, address, first) {
        Ok(()) => (TcpState::Connected, Ok(Ok(()))),
        Err(Stop::Block) => (TcpState::Connecting(address), Err(Halt::Block)),
        Err(Stop::Errno(errno)) => (TcpState::Closed, Ok(Err(SocketError::from(errno)))),
    };
    call.resources.get_mut(socket)?.tcp.state = state;
    told
}

type Accepted = StreamReader<Resource<StreamSocket>>;

fn listen(
    store: &mut StoreContextMut<'_, Host>,
    socket: &Resource<StreamSocket>,
) -> wasmtime::Result<SocketResult<Accepted>> {
    let listener = match call(store, |call| begin_listen(call, socket))? {
        Ok(listener) => listener,
        Err(error) => return Ok(Err(error)),
    };
    let keeper = Keeper::new(store, listener.fd, None)?;
    let accepting = Accepting { _keeper: keeper, socket: socket.rep(), listener, wait: Wait::default() };
    Ok(Ok(StreamReader::new(&mut *store, accepting)?))
}

fn begin_listen(call: &mut Call<'_>, socket: &Resource<StreamSocket>) -> wasmtime::Result<SocketResult<Tcp>> {
    let known = call.resources.get(socket)?.tcp;
    if !matches!(known.state, TcpState::Unbound | TcpState::Bound) {
        return Ok(Err(SocketError::InvalidState));
    }
    let bound = if known.state == TcpState::Unbound { call.kernel.bind(known.fd, 0) } else { Ok(()) };
    Ok(match bound.and_then(|()| call.kernel.listen(known.fd, known.options.backlog)) {
        Ok(()) => {
            let tcp = &mut call.resources.get_mut(socket)?.tcp;
            tcp.state = TcpState::Listening;
            Ok(*tcp)
        }
        Err(errno) => Err(SocketError::from(errno)),
    })
}

/// Connections as they come. It never ends by itself.
struct Accepting {
    _keeper: Keeper<SocketError>,
    /// The entry of the listening socket, as long as the guest keeps that.
    socket: u32,
    /// The listening socket, as it was known last.
    listener: Tcp,
    wait: Wait,
}

impl Accepting {
    fn next(&mut self, call: &mut Call<'_>) -> Result<Resource<StreamSocket>, Halt> {
        // What is accepted has the options that the socket has now. This stream holds the socket's descriptor, so what
        // has another one is not that socket.
        if let Ok(socket) = call.resources.get(&Resource::<StreamSocket>::new_borrow(self.socket))
            && socket.tcp.fd == self.listener.fd
        {
            self.listener = socket.tcp;
        }
        match call.kernel.accept(self.listener.fd, 0) {
            Ok(fd) => {
                let tcp = Tcp { fd, state: TcpState::Connected, ip: None, ..self.listener };
                Ok(call.add(StreamSocket { tcp, sends: false, receives: false })?)
            }
            // One that finds no room waits for some.
            Err(Stop::Block | Stop::Errno(_)) => Err(Halt::Block),
        }
    }
}

impl StreamProducer<Host> for Accepting {
    type Item = Resource<StreamSocket>;
    type Buffer = Option<Resource<StreamSocket>>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, Host>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        // A read of no connection is done once there is one.
        let asks = destination.remaining(store.as_context_mut()) == Some(0);
        let mut wait = std::mem::take(&mut self.wait);
        let accepted = attempt(&mut store, &mut wait, context, |call, first| match asks {
            true => until_ready(call, Interest::Read(self.listener.fd), first).map(|()| None),
            false => self.next(call).map(Some),
        });
        match accepted {
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => {
                self.wait = wait;
                Poll::Pending
            }
            Poll::Ready(accepted) => Poll::Ready(accepted.map(|accepted| {
                if accepted.is_some() {
                    destination.set_buffer(accepted);
                }
                StreamResult::Completed
            })),
        }
    }
}

/// The descriptor of a connection of which this half was not taken yet, by the flag that says so.
fn half(
    store: &mut StoreContextMut<'_, Host>,
    socket: &Resource<StreamSocket>,
    taken: fn(&mut StreamSocket) -> &mut bool,
) -> wasmtime::Result<Option<u32>> {
    call(store, |call| {
        let socket = call.resources.get_mut(socket)?;
        let is_free = socket.tcp.state == TcpState::Connected && !std::mem::replace(taken(socket), true);
        Ok(is_free.then_some(socket.tcp.fd))
    })
}

fn send(
    store: &mut StoreContextMut<'_, Host>,
    socket: &Resource<StreamSocket>,
    data: StreamReader<u8>,
) -> wasmtime::Result<FutureReader<Result<(), SocketError>>> {
    match half(store, socket, |socket| &mut socket.sends)? {
        Some(fd) => write(store, data, End::Connection(fd)),
        None => unwritten(store, data, SocketError::InvalidState),
    }
}

fn receive(
    store: &mut StoreContextMut<'_, Host>,
    socket: &Resource<StreamSocket>,
) -> wasmtime::Result<Read<SocketError>> {
    match half(store, socket, |socket| &mut socket.receives)? {
        Some(fd) => read(store, End::Connection(fd)),
        None => unread(store, SocketError::InvalidState),
    }
}
