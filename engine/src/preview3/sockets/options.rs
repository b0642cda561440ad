//! Options of stream sockets. What is set is kept and told, and does nothing else, as for 0.2.

use wasmtime::component::Resource;

use super::SocketResult;
use crate::preview2::links::{Call, Interface};
use crate::preview2::resources::{StreamSocket, TcpOptions, TcpState};
use crate::preview2::sockets::options::{KEEP_ALIVE_MAX_COUNT, Value, positive, time};
use crate::preview3::wit::SocketError;

/// The functions that tell and set an option.
macro_rules! names {
    ($name:literal) => {
        (concat!("[method]tcp-socket.get-", $name), concat!("[method]tcp-socket.set-", $name))
    };
}

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    option(
        types,
        names!("keep-alive-enabled"),
        |_, options| options.keep_alive,
        |options, on| options.keep_alive = on,
        |on| Some(*on),
    )?;
    option(
        types,
        names!("keep-alive-idle-time"),
        |_, options| options.keep_alive_idle_ns,
        |options, ns| options.keep_alive_idle_ns = ns,
        time,
    )?;
    option(
        types,
        names!("keep-alive-interval"),
        |_, options| options.keep_alive_interval_ns,
        |options, ns| options.keep_alive_interval_ns = ns,
        time,
    )?;
    option(
        types,
        names!("keep-alive-count"),
        |_, options| options.keep_alive_count,
        |options, count| options.keep_alive_count = count,
        |count| (*count > 0).then(|| (*count).min(KEEP_ALIVE_MAX_COUNT)),
    )?;
    option(
        types,
        names!("hop-limit"),
        |_, options| options.hop_limit,
        |options, hops| options.hop_limit = hops,
        |hops| (*hops > 0).then_some(*hops),
    )?;
    option(
        types,
        names!("receive-buffer-size"),
        |own, options| options.receive_buffer_bytes.unwrap_or(own),
        |options, bytes| options.receive_buffer_bytes = Some(bytes),
        positive,
    )?;
    option(
        types,
        names!("send-buffer-size"),
        |own, options| options.send_buffer_bytes.unwrap_or(own),
        |options, bytes| options.send_buffer_bytes = Some(bytes),
        positive,
    )
}

/// Links the functions that tell and set an option; `check` gives what a value becomes, or none for one that is wrong.
fn option<V: Value>(
    types: &mut Interface<'_>,
    (getter, setter): (&'static str, &'static str),
    get: fn(u64, &TcpOptions) -> V,
    set: fn(&mut TcpOptions, V),
    check: fn(&V) -> Option<V>,
) -> wasmtime::Result<()> {
    type Own = (Resource<StreamSocket>,);
    types.define(getter, move |call: &mut Call<'_>, (socket,): Own| -> wasmtime::Result<SocketResult<V>> {
        let (own, known) = (call.kernel.config().socket_buffer_bytes, &call.resources.get(&socket)?.tcp);
        Ok(usable(known.state).map(|()| get(own, &known.options)))
    })?;
    types.define(setter, move |call: &mut Call<'_>, (socket, value): (Resource<StreamSocket>, V)| {
        let known = &mut call.resources.get_mut(&socket)?.tcp;
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
