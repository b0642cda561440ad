//! What sockets tell of themselves and are told, in 0.2 and in 0.3: addresses, states and options. The versions differ in
//! their errors and in the names of what tells something, in nothing else.
//!
//! Keep-alive, routes and the sizes of system buffers are the proxy's: what is set is kept and told, and does nothing else.

use std::fmt::Debug;

use refrain_kernel::{Errno, Kernel};
use wasmtime::component::{ComponentType, Lift, Lower, Resource};

use super::{WRONG_STATE, WRONG_VALUE, local_address};
use crate::preview2::links::{Call, Interface, Weight};
use crate::preview2::resources::{Kind, Tcp, TcpOptions, TcpState, Udp, UdpState};
use crate::preview2::wit::{IpAddressFamily, IpSocketAddress};

const SECOND_NS: u64 = 1_000_000_000;
/// The most of a keep-alive time, and of a number of probes, as on Linux.
const KEEP_ALIVE_MAX_NS: u64 = 32_767 * SECOND_NS;
const KEEP_ALIVE_MAX_COUNT: u32 = 127;

/// The functions of one property.
pub(crate) struct Names {
    /// What tells it in 0.2.
    pub(crate) plain: &'static str,
    /// What tells it in 0.3.
    pub(crate) get: &'static str,
    set: &'static str,
}

macro_rules! names {
    ($socket:literal, $name:literal) => {
        Names {
            plain: concat!("[method]", $socket, "-socket.", $name),
            get: concat!("[method]", $socket, "-socket.get-", $name),
            set: concat!("[method]", $socket, "-socket.set-", $name),
        }
    };
}

/// A version of `wasi:sockets`.
pub(crate) trait Version: 'static {
    /// Its `error-code`.
    type Error: From<Errno> + ComponentType + Lower + Debug + Send + 'static;
    /// The function that tells a property.
    fn getter(names: &Names) -> &'static str;
}

/// A resource that is a stream socket.
pub(crate) trait StreamSocketKind: Kind {
    fn tcp(&self) -> &Tcp;
    fn tcp_mut(&mut self) -> &mut Tcp;
}

/// A value of an option.
trait Value: ComponentType + Lift + Lower + Weight + Debug + Send + 'static {}

impl Value for bool {}
impl Value for u8 {}
impl Value for u32 {}
impl Value for u64 {}

type Told<V, T> = wasmtime::Result<Result<T, <V as Version>::Error>>;

/// A fresh stream socket, with the options that one has on Linux.
pub(crate) fn stream_socket(kernel: &mut Kernel, family: IpAddressFamily) -> Result<Tcp, Errno> {
    let v6 = family == IpAddressFamily::Ipv6;
    let options = TcpOptions {
        keep_alive: false,
        keep_alive_idle_ns: 7200 * SECOND_NS,
        keep_alive_interval_ns: 75 * SECOND_NS,
        keep_alive_count: 9,
        hop_limit: 64,
        receive_buffer_bytes: None,
        send_buffer_bytes: None,
        backlog: 4096,
    };
    let fd = kernel.socket(v6, false)?;
    Ok(Tcp { fd, v6, state: TcpState::Unbound, ip: None, options })
}

/// A fresh datagram socket.
pub(crate) fn datagram_socket(kernel: &mut Kernel, family: IpAddressFamily) -> Result<Udp, Errno> {
    let v6 = family == IpAddressFamily::Ipv6;
    let (receive_buffer_bytes, send_buffer_bytes) = (None, None);
    let (state, ip, peer, hop_limit) = (UdpState::Unbound, None, None, 64);
    let fd = kernel.socket(v6, true)?;
    Ok(Udp { fd, v6, state, ip, peer, hop_limit, receive_buffer_bytes, send_buffer_bytes })
}

fn family(v6: bool) -> IpAddressFamily {
    if v6 { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 }
}

/// Links what stream sockets tell and are told.
pub(crate) fn of_streams<V: Version, S: StreamSocketKind>(tcp: &mut Interface<'_>) -> wasmtime::Result<()> {
    tcp.define(V::getter(&names!("tcp", "local-address")), |call, (socket,): (Resource<S>,)| -> Told<V, _> {
        let Tcp { fd, state, ip, .. } = *call.resources.get(&socket)?.tcp();
        let local = match state {
            TcpState::Unbound | TcpState::Connecting(_) | TcpState::Closed => Err(WRONG_STATE),
            _ => local_address(call.kernel.local_address(fd), ip),
        };
        Ok(local.map(IpSocketAddress::from).map_err(V::Error::from))
    })?;
    tcp.define(V::getter(&names!("tcp", "remote-address")), |call, (socket,): (Resource<S>,)| -> Told<V, _> {
        let Tcp { fd, state, .. } = *call.resources.get(&socket)?.tcp();
        let peer = if state == TcpState::Connected { call.kernel.peer_address(fd) } else { Err(WRONG_STATE) };
        Ok(peer.map(IpSocketAddress::from).map_err(V::Error::from))
    })?;
    tcp.define(V::getter(&names!("tcp", "is-listening")), |call, (socket,): (Resource<S>,)| {
        Ok(call.resources.get(&socket)?.tcp().state == TcpState::Listening)
    })?;
    tcp.define(V::getter(&names!("tcp", "address-family")), |call, (socket,): (Resource<S>,)| {
        Ok(family(call.resources.get(&socket)?.tcp().v6))
    })?;
    tcp.define(
        "[method]tcp-socket.set-listen-backlog-size",
        |call: &mut Call<'_>, (socket, value): (Resource<S>, u64)| -> Told<V, _> {
            let tcp = call.resources.get_mut(&socket)?.tcp_mut();
            Ok(set_backlog(call.kernel, tcp, value).map_err(V::Error::from))
        },
    )?;
    stream_options::<V, S>(tcp)
}

fn set_backlog(kernel: &mut Kernel, tcp: &mut Tcp, value: u64) -> Result<(), Errno> {
    if value == 0 {
        return Err(WRONG_VALUE);
    }
    let backlog = u32::try_from(value).unwrap_or(u32::MAX);
    match tcp.state {
        TcpState::Unbound | TcpState::Binding | TcpState::Bound => {}
        TcpState::ListenStarted | TcpState::Listening => kernel.listen(tcp.fd, backlog)?,
        TcpState::Connecting(_) | TcpState::Connected | TcpState::Closed => return Err(WRONG_STATE),
    }
    tcp.options.backlog = backlog;
    Ok(())
}

fn stream_options<V: Version, S: StreamSocketKind>(tcp: &mut Interface<'_>) -> wasmtime::Result<()> {
    option::<V, S, _>(
        tcp,
        &names!("tcp", "keep-alive-enabled"),
        |_, options| options.keep_alive,
        |options, on| options.keep_alive = on,
        |on| Some(*on),
    )?;
    option::<V, S, _>(
        tcp,
        &names!("tcp", "keep-alive-idle-time"),
        |_, options| options.keep_alive_idle_ns,
        |options, ns| options.keep_alive_idle_ns = ns,
        time,
    )?;
    option::<V, S, _>(
        tcp,
        &names!("tcp", "keep-alive-interval"),
        |_, options| options.keep_alive_interval_ns,
        |options, ns| options.keep_alive_interval_ns = ns,
        time,
    )?;
    option::<V, S, _>(
        tcp,
        &names!("tcp", "keep-alive-count"),
        |_, options| options.keep_alive_count,
        |options, count| options.keep_alive_count = count,
        |count| (*count > 0).then(|| (*count).min(KEEP_ALIVE_MAX_COUNT)),
    )?;
    option::<V, S, _>(
        tcp,
        &names!("tcp", "hop-limit"),
        |_, options| options.hop_limit,
        |options, hops| options.hop_limit = hops,
        |hops| (*hops > 0).then_some(*hops),
    )?;
    option::<V, S, _>(
        tcp,
        &names!("tcp", "receive-buffer-size"),
        |own, options| options.receive_buffer_bytes.unwrap_or(own),
        |options, bytes| options.receive_buffer_bytes = Some(bytes),
        positive,
    )?;
    option::<V, S, _>(
        tcp,
        &names!("tcp", "send-buffer-size"),
        |own, options| options.send_buffer_bytes.unwrap_or(own),
        |options, bytes| options.send_buffer_bytes = Some(bytes),
        positive,
    )
}

/// A time in whole seconds, which is what a system keeps.
fn time(ns: &u64) -> Option<u64> {
    let seconds = ns.div_ceil(SECOND_NS).saturating_mul(SECOND_NS);
    (*ns > 0).then(|| seconds.min(KEEP_ALIVE_MAX_NS))
}

fn positive(bytes: &u64) -> Option<u64> {
    (*bytes > 0).then_some(*bytes)
}

/// Links the functions that tell and set an option; `check` gives what a value becomes, or none for one that is wrong.
fn option<V: Version, S: StreamSocketKind, T: Value>(
    tcp: &mut Interface<'_>,
    names: &Names,
    get: fn(u64, &TcpOptions) -> T,
    set: fn(&mut TcpOptions, T),
    check: fn(&T) -> Option<T>,
) -> wasmtime::Result<()> {
    tcp.define(V::getter(names), move |call: &mut Call<'_>, (socket,): (Resource<S>,)| -> Told<V, T> {
        let (own, known) = (call.kernel.config().socket_buffer_bytes, call.resources.get(&socket)?.tcp());
        Ok(usable(known.state).map(|()| get(own, &known.options)).map_err(V::Error::from))
    })?;
    tcp.define(names.set, move |call: &mut Call<'_>, (socket, value): (Resource<S>, T)| -> Told<V, ()> {
        let known = call.resources.get_mut(&socket)?.tcp_mut();
        let checked = usable(known.state).and_then(|()| check(&value).ok_or(WRONG_VALUE));
        Ok(checked.map(|value| set(&mut known.options, value)).map_err(V::Error::from))
    })
}

/// Options of what is being connected, or came to nothing, are not to be had.
fn usable(state: TcpState) -> Result<(), Errno> {
    match state {
        TcpState::Connecting(_) | TcpState::Closed => Err(WRONG_STATE),
        _ => Ok(()),
    }
}

/// Links what datagram sockets tell and are told, but for their own address.
pub(crate) fn of_datagrams<V: Version>(udp: &mut Interface<'_>) -> wasmtime::Result<()> {
    udp.define(V::getter(&names!("udp", "remote-address")), |call, (socket,): (Resource<Udp>,)| -> Told<V, _> {
        let peer = call.resources.get(&socket)?.peer;
        Ok(peer.map(IpSocketAddress::from).ok_or(WRONG_STATE).map_err(V::Error::from))
    })?;
    udp.define(V::getter(&names!("udp", "address-family")), |call, (socket,): (Resource<Udp>,)| {
        Ok(family(call.resources.get(&socket)?.v6))
    })?;
    let hop_limit = names!("udp", "unicast-hop-limit");
    udp.define(V::getter(&hop_limit), |call, (socket,): (Resource<Udp>,)| -> Told<V, u8> {
        Ok(Ok(call.resources.get(&socket)?.hop_limit))
    })?;
    udp.define(hop_limit.set, |call: &mut Call<'_>, (socket, hops): (Resource<Udp>, u8)| -> Told<V, ()> {
        if hops == 0 {
            return Ok(Err(WRONG_VALUE.into()));
        }
        call.resources.get_mut(&socket)?.hop_limit = hops;
        Ok(Ok(()))
    })?;
    type Field = fn(&mut Udp) -> &mut Option<u64>;
    let sizes: [(Names, Field); 2] = [
        (names!("udp", "receive-buffer-size"), |socket| &mut socket.receive_buffer_bytes),
        (names!("udp", "send-buffer-size"), |socket| &mut socket.send_buffer_bytes),
    ];
    for (names, field) in sizes {
        udp.define(V::getter(&names), move |call: &mut Call<'_>, (socket,): (Resource<Udp>,)| -> Told<V, u64> {
            let own = call.kernel.config().socket_buffer_bytes;
            Ok(Ok(field(call.resources.get_mut(&socket)?).unwrap_or(own)))
        })?;
        udp.define(names.set, move |call: &mut Call<'_>, (socket, bytes): (Resource<Udp>, u64)| -> Told<V, ()> {
            let socket = call.resources.get_mut(&socket)?;
            let checked = positive(&bytes).ok_or(WRONG_VALUE);
            Ok(checked.map(|bytes| *field(socket) = Some(bytes)).map_err(V::Error::from))
        })?;
    }
    Ok(())
}
