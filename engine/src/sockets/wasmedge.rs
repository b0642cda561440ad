//! WasmEdge's socket extension. Its second form differs by its addresses alone: a buffer of 4 or 16 bytes is an
//! address, a longer one (128 bytes) begins with the address's family. Functions of both forms take either.

mod address;
mod lookup;

use refrain_inspect::abi::Family;
use refrain_kernel::{Errno, Kernel};
use wasmtime::Caller;

use super::{Buffers, SocketOption, option, receive, transmit};
use crate::host::{Host, call, waiting_call};
use crate::links::Links;
use crate::preview1::memory::{read_u32, slice, slice_mut, write, write_u32};
pub(crate) use address::read_address;
use address::{FAMILY_INET6, Room};

/// `sock_type`.
const TYPE_ANY: u32 = 0;
const TYPE_DATAGRAM: u32 = 1;
const TYPE_STREAM: u32 = 2;
/// `SOL_SOCKET`, the only level.
const LEVEL_SOCKET: u32 = 0;
/// Option numbers end here.
const LAST_OPTION: u32 = 14;
/// Bytes of a `timeval`, the longest value of an option that is asked for.
const LONGEST_VALUE: u32 = 16;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.of(Family::WasmedgeV1);
    making(links)?;
    connecting(links)?;
    datagrams(links)?;
    addresses(links)?;
    options(links)?;
    lookup::add_to(links)?;
    second(links.of(Family::WasmedgeV2))
}

fn making(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("sock_open", |mut caller: Caller<'_, Host>, family: u32, kind: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            slice(memory, out, 4)?;
            if family > FAMILY_INET6 {
                return Err(Errno::Afnosupport);
            }
            let datagram = match kind {
                TYPE_ANY | TYPE_STREAM => false,
                TYPE_DATAGRAM => true,
                _ => return Err(Errno::Protonosupport),
            };
            let fd = kernel.socket(family == FAMILY_INET6, datagram)?;
            write_u32(memory, out, fd)
        })
    })?;
    links.define("sock_bind", |mut caller: Caller<'_, Host>, fd: u32, address: u32, port: u32| {
        call(&mut caller, |kernel, memory| {
            let address = read_address(memory, address, port)?;
            kernel.bind(fd, address.port())
        })
    })?;
    links.define("sock_listen", |mut caller: Caller<'_, Host>, fd: u32, backlog: u32| {
        call(&mut caller, |kernel, _| kernel.listen(fd, backlog))
    })
}

fn connecting(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("sock_accept", |caller: Caller<'_, Host>, (fd, out): (u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| {
            slice(memory, out, 4)?;
            let accepted = kernel.accept(fd, 0)?;
            Ok(write_u32(memory, out, accepted)?)
        })
    })?;
    links.waiting("sock_connect", |caller: Caller<'_, Host>, (fd, address, port): (u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, first| {
            let address = read_address(memory, address, port)?;
            kernel.connect(fd, address, first)
        })
    })
}

fn datagrams(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting(
        "sock_recv_from",
        |caller: Caller<'_, Host>,
         (fd, at, count, address, flags, total, out_flags): (u32, u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                let room = Room::of(memory, address)?;
                slice(memory, out_flags, 2)?;
                let received = receive(kernel, memory, fd, Buffers { vectors: (at, count), total }, flags)?;
                received.from(kernel, fd).map_or(Ok(()), |from| room.put_cut(memory, from))?;
                Ok(write(memory, out_flags, &received.flags.to_le_bytes())?)
            })
        },
    )?;
    links.waiting(
        "sock_send_to",
        |caller: Caller<'_, Host>,
         (fd, at, count, address, port, _flags, total): (u32, u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                let to = read_address(memory, address, port)?;
                transmit(kernel, memory, fd, Buffers { vectors: (at, count), total }, Some(to))
            })
        },
    )
}

fn addresses(links: &mut Links<'_>) -> wasmtime::Result<()> {
    for (name, ask) in [("sock_getlocaladdr", Kernel::local_address as Ask), ("sock_getpeeraddr", Kernel::peer_address)]
    {
        links.define(name, move |mut caller: Caller<'_, Host>, fd: u32, address: u32, kind: u32, port: u32| {
            call(&mut caller, |kernel, memory| {
                let found = ask(kernel, fd)?;
                let room = Room::of(memory, address)?;
                slice_mut(memory, kind, 4)?;
                slice_mut(memory, port, 4)?;
                room.put(memory, found)?;
                // 4 or 6, where every other call has 1 or 2.
                write_u32(memory, kind, if found.is_ipv4() { 4 } else { 6 })?;
                write_u32(memory, port, u32::from(found.port()))
            })
        })?;
    }
    Ok(())
}

type Ask = fn(&Kernel, u32) -> Result<std::net::SocketAddr, Errno>;

fn second(links: &mut Links<'_>) -> wasmtime::Result<()> {
    for (name, ask) in [("sock_getlocaladdr", Kernel::local_address as Ask), ("sock_getpeeraddr", Kernel::peer_address)]
    {
        links.define(name, move |mut caller: Caller<'_, Host>, fd: u32, address: u32, port: u32| {
            call(&mut caller, |kernel, memory| {
                let found = ask(kernel, fd)?;
                let room = Room::of(memory, address)?;
                slice_mut(memory, port, 4)?;
                room.put(memory, found)?;
                write_u32(memory, port, u32::from(found.port()))
            })
        })?;
    }
    links.waiting(
        "sock_recv_from",
        |caller: Caller<'_, Host>,
         (fd, at, count, address, flags, port, total, out_flags): (u32, u32, u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                let room = Room::of(memory, address)?;
                slice(memory, port, 4)?;
                slice(memory, out_flags, 2)?;
                let received = receive(kernel, memory, fd, Buffers { vectors: (at, count), total }, flags)?;
                if let Some(from) = received.from(kernel, fd) {
                    room.put_cut(memory, from)?;
                    write_u32(memory, port, u32::from(from.port()))?;
                }
                Ok(write(memory, out_flags, &received.flags.to_le_bytes())?)
            })
        },
    )
}

fn known_option(level: u32, name: u32) -> Result<SocketOption, Errno> {
    match (level, name) {
        (LEVEL_SOCKET, 1) => Ok(SocketOption::Type),
        (LEVEL_SOCKET, 2) => Ok(SocketOption::Error),
        (LEVEL_SOCKET, 5 | 6) => Ok(SocketOption::BufferBytes),
        (LEVEL_SOCKET, 13) => Ok(SocketOption::Listening),
        (LEVEL_SOCKET, 0..=LAST_OPTION) => Ok(SocketOption::Other),
        _ => Err(Errno::Noprotoopt),
    }
}

fn options(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define(
        "sock_setsockopt",
        |mut caller: Caller<'_, Host>, fd: u32, level: u32, name: u32, value: u32, len: u32| {
            call(&mut caller, |kernel, memory| {
                slice(memory, value, len)?;
                known_option(level, name)?;
                kernel.socket_kind(fd).map(drop)
            })
        },
    )?;
    // Go's usual library for these calls passes the length itself where its place in memory is wanted. Nobody has a length
    // at the addresses 4 to 16 that is too small.
    links.define(
        "sock_getsockopt",
        |mut caller: Caller<'_, Host>, fd: u32, level: u32, name: u32, value: u32, len: u32| {
            call(&mut caller, |kernel, memory| {
                let known = known_option(level, name)?;
                let stored = read_u32(memory, len)?;
                let by_value = stored < 4 && (4..=LONGEST_VALUE).contains(&len);
                let room = if by_value { len } else { stored };
                if room < 4 {
                    return Err(Errno::Inval);
                }
                let room = if known == SocketOption::Other { room.min(LONGEST_VALUE) } else { 4 };
                slice(memory, value, room)?;
                let found = match (known, option(kernel, fd, known)?) {
                    // Datagrams are 1 here, streams 2.
                    (SocketOption::Type, kind) => 3 - kind,
                    (_, value) => value,
                };
                slice_mut(memory, value, room)?.fill(0);
                write_u32(memory, value, found)?;
                if by_value { Ok(()) } else { write_u32(memory, len, room) }
            })
        },
    )
}
