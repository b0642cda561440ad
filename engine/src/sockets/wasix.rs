//! WASIX: its sockets, and what a single-threaded program of its libc imports besides.

mod address;
mod options;
mod process;
mod transfer;

use refrain_kernel::socket::SocketKind;
use refrain_kernel::{Errno, Kernel};
use wasmtime::Caller;

use super::{MAX_HOST_TEXT_BYTES, text};
use crate::host::{Host, call, waiting_call};
use crate::links::Links;
use crate::preview1::memory::{element, slice, slice_mut, write, write_u32};
pub(crate) use address::read_address;
use address::{ADDRESS_PORT_BYTES, FAMILY_INET6, IP_BYTES, encode_ip, put_address};

/// `sock_type`; WasmEdge has them the other way round.
const TYPE_STREAM: u32 = 1;
const TYPE_DATAGRAM: u32 = 2;
/// `sock_proto`.
const PROTO_ANY: u32 = 0;
const PROTO_TCP: u32 = 6;
const PROTO_UDP: u32 = 17;
/// `sock_status`.
const STATUS_OPENING: u8 = 0;
const STATUS_OPENED: u8 = 1;
const STATUS_CLOSED: u8 = 2;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    making(links)?;
    connecting(links)?;
    addresses(links)?;
    transfer::add_to(links)?;
    options::add_to(links)?;
    network(links)?;
    process::add_to(links)
}

fn making(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("sock_open", |mut caller: Caller<'_, Host>, family: u32, kind: u32, protocol: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            slice(memory, out, 4)?;
            if family > FAMILY_INET6 {
                return Err(Errno::Afnosupport);
            }
            let datagram = match (kind, protocol) {
                (TYPE_STREAM, PROTO_ANY | PROTO_TCP) => false,
                (TYPE_DATAGRAM, PROTO_ANY | PROTO_UDP) => true,
                _ => return Err(Errno::Protonosupport),
            };
            let fd = kernel.socket(family == FAMILY_INET6, datagram)?;
            write_u32(memory, out, fd)
        })
    })?;
    links.fail::<(u32, u32, u32, u32, u32)>("sock_pair", Errno::Notsup)?;
    links.define("sock_bind", |mut caller: Caller<'_, Host>, fd: u32, address: u32| {
        call(&mut caller, |kernel, memory| kernel.bind(fd, read_address(memory, address)?.port()))
    })?;
    links.define("sock_listen", |mut caller: Caller<'_, Host>, fd: u32, backlog: u32| {
        call(&mut caller, |kernel, _| kernel.listen(fd, backlog))
    })
}

fn connecting(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("sock_accept", |caller: Caller<'_, Host>, (fd, flags, out, address): (u32, u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| {
            slice(memory, out, 4)?;
            slice(memory, address, ADDRESS_PORT_BYTES)?;
            let accepted = kernel.accept(fd, flags as u16)?;
            // A peer that is gone already has no address; the guest learns it by reading.
            kernel.peer_address(accepted).map_or(Ok(()), |peer| put_address(memory, address, peer))?;
            Ok(write_u32(memory, out, accepted)?)
        })
    })?;
    links.waiting("sock_connect", |caller: Caller<'_, Host>, (fd, address): (u32, u32)| {
        waiting_call(caller, move |kernel, memory, first| {
            let address = read_address(memory, address)?;
            kernel.connect(fd, address, first)
        })
    })?;
    links.define("sock_status", |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
        call(&mut caller, |kernel, memory| write(memory, out, &[status(kernel, fd)?]))
    })
}

fn status(kernel: &Kernel, fd: u32) -> Result<u8, Errno> {
    Ok(match kernel.socket_kind(fd)? {
        SocketKind::Idle => STATUS_OPENING,
        SocketKind::Connected if kernel.peer_address(fd).is_err() => STATUS_CLOSED,
        _ => STATUS_OPENED,
    })
}

fn addresses(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("sock_addr_local", |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
        call(&mut caller, |kernel, memory| put_address(memory, out, kernel.local_address(fd)?))
    })?;
    links.define("sock_addr_peer", |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
        call(&mut caller, |kernel, memory| put_address(memory, out, kernel.peer_address(fd)?))
    })?;
    links.waiting(
        "resolve",
        |caller: Caller<'_, Host>, (host, len, _port, out, room, count): (u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, first| {
                slice(memory, count, 4)?;
                let name = text(memory, (host, len), MAX_HOST_TEXT_BYTES)?;
                let found = kernel.resolve(&name, first)?;
                let found = &found[..found.len().min(room as usize)];
                slice_mut(memory, out, element(0, found.len() as u32, IP_BYTES)?)?;
                for (index, ip) in found.iter().enumerate() {
                    write(memory, element(out, index as u32, IP_BYTES)?, &encode_ip(*ip))?;
                }
                Ok(write_u32(memory, count, found.len() as u32)?)
            })
        },
    )
}

/// Interfaces and routes: a guest has none of its own.
fn network(links: &mut Links<'_>) -> wasmtime::Result<()> {
    for name in ["port_addr_list", "port_route_list"] {
        links.define(name, |mut caller: Caller<'_, Host>, _list: u32, count: u32| {
            call(&mut caller, |_, memory| write_u32(memory, count, 0))
        })?;
    }
    for name in ["port_addr_clear", "port_dhcp_acquire", "port_route_clear", "port_unbridge"] {
        links.fail::<()>(name, Errno::Notsup)?;
    }
    for name in ["port_addr_add", "port_addr_remove", "port_gateway_set", "port_mac", "port_route_remove"] {
        links.fail::<(u32,)>(name, Errno::Notsup)?;
    }
    links.fail::<(u32, u32, u32, u32)>("port_route_add", Errno::Notsup)?;
    links.fail::<(u32, u32, u32, u32, u32)>("port_bridge", Errno::Notsup)?;
    for group in
        ["sock_join_multicast_v4", "sock_join_multicast_v6", "sock_leave_multicast_v4", "sock_leave_multicast_v6"]
    {
        links.fail::<(u32, u32, u32)>(group, Errno::Notsup)?;
    }
    Ok(())
}
