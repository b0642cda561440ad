//! Options of stream sockets. Keep-alive, routes and the sizes of system buffers are the proxy's: what is set is kept and
//! told, and does nothing else.

use wasmtime::component::Resource;

use super::SocketResult;
use crate::preview2::links::{Call, Interface};
use crate::preview2::resources::{Tcp, TcpOptions, TcpState};
use crate::preview2::wit::SocketError;

/// What a fresh socket has, as on Linux.
pub(crate) fn default_options() -> TcpOptions {
    TcpOptions {
        keep_alive: false,
        keep_alive_idle_ns: 7200 * SECOND_NS,
        keep_alive_interval_ns: 75 * SECOND_NS,
        keep_alive_count: 9,
        hop_limit: 64,
        receive_buffer_bytes: None,
        send_buffer_bytes: None,
        backlog: 4096,
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// The most of a keep-alive time, and of a number of probes, as on Linux.
const KEEP_ALIVE_MAX_NS: u64 = 32_767 * SECOND_NS;
pub(crate) const KEEP_ALIVE_MAX_COUNT: u32 = 127;

/// The functions that tell and set an option.
macro_rules! names {
    ($name:literal) => {
        (concat!("[method]tcp-socket.", $name), concat!("[method]tcp-socket.set-", $name))
    };
}

pub(super) fn add_to(tcp: &mut Interface<'_>) -> wasmtime::Result<()> {
    option(
        tcp,
        names!("keep-alive-enabled"),
        |_, options| options.keep_alive,
        |options, on| options.keep_alive = on,
        |on| Some(*on),
    )?;
    option(
        tcp,
        names!("keep-alive-idle-time"),
        |_, options| options.keep_alive_idle_ns,
        |options, ns| options.keep_alive_idle_ns = ns,
        time,
    )?;
    option(
        tcp,
        names!("keep-alive-interval"),
        |_, options| options.keep_alive_interval_ns,
        |options, ns| options.keep_alive_interval_ns = ns,
        time,
    )?;
    option(
        tcp,
        names!("keep-alive-count"),
        |_, options| options.keep_alive_count,
        |options, count| options.keep_alive_count = count,
        |count| (*count > 0).then(|| (*count).min(KEEP_ALIVE_MAX_COUNT)),
    )?;
    option(
        tcp,
        names!("hop-limit"),
        |_, options| options.hop_limit,
        |options, hops| options.hop_limit = hops,
        |hops| (*hops > 0).then_some(*hops),
    )?;
    option(
        tcp,
        names!("receive-buffer-size"),
        |own, options| options.receive_buffer_bytes.unwrap_or(own),
        |options, bytes| options.receive_buffer_bytes = Some(bytes),
        positive,
    )?;
    option(
        tcp,
        names!("send-buffer-size"),
        |own, options| options.send_buffer_bytes.unwrap_or(own),
        |options, bytes| options.send_buffer_bytes = Some(bytes),
        positive,
    )
}

/// A time in whole seconds, which is what a system keeps.
pub(crate) fn time(ns: &u64) -> Option<u64> {
    let seconds = ns.div_ceil(SECOND_NS).saturating_mul(SECOND_NS);
    (*ns > 0).then(|| seconds.min(KEEP_ALIVE_MAX_NS))
}

pub(crate) fn positive(bytes: &u64) -> Option<u64> {
    (*bytes > 0).then_some(*bytes)
}

/// What the values of options have in common.
pub(crate) trait Value:
    wasmtime::component::ComponentType
    + wasmtime::component::Lift
    + wasmtime::component::Lower
    + crate::preview2::links::Weight
    + std::fmt::Debug
    + Send
    + 'static
{
}

impl Value for bool {}
impl Value for u8 {}
impl Value for u32 {}
impl Value for u64 {}

/// Links the functions that tell and set an option; `check` gives what a value becomes, or none for one that is wrong.
fn option<V: Value>(
    tcp: &mut Interface<'_>,
    (getter, setter): (&'static str, &'static str),
    get: fn(u64, &TcpOptions) -> V,
    set: fn(&mut TcpOptions, V),
    check: fn(&V) -> Option<V>,
) -> wasmtime::Result<()> {
    tcp.define(getter, move |call: &mut Call<'_>, (socket,): (Resource<Tcp>,)| -> wasmtime::Result<SocketResult<V>> {
        let (own, known) = (call.kernel.config().socket_buffer_bytes, call.resources.get(&socket)?);
        Ok(usable(known.state).map(|()| get(own, &known.options)))
    })?;
    tcp.define(setter, move |call: &mut Call<'_>, (socket, value): (Resource<Tcp>, V)| {
        let known = call.resources.get_mut(&socket)?;
        Ok(usable(known.state).and_then(|()| match check(&value) {
            Some(value) => {
                set(&mut known.options, value);
                Ok(())
            }
            None => Err(SocketError::InvalidArgument),
        }))
    })
}

/// Options of what is being connected, or came to nothing, are not to be had.
fn usable(state: TcpState) -> SocketResult<()> {
    match state {
        TcpState::Connecting(_) | TcpState::Closed => Err(SocketError::InvalidState),
        _ => Ok(()),
    }
}
