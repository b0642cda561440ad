//! The `sock_*` functions: preview 1's four, and the extension that makes sockets (WasmEdge's, version 1).

use std::net::{IpAddr, SocketAddr};

use refrain_kernel::Errno;
use refrain_kernel::socket::{Shutdown, SocketKind};
use wasmtime::Caller;

use super::Links;
use super::memory::{each_vector, read_u32, slice, slice_mut, write, write_u32};
use crate::host::{Host, call, waiting_call};

const FAMILY_INET6: u32 = 2;
const TYPE_STREAM: u32 = 2;
const RECV_PEEK: u32 = 1;
const SHUT_READ: u32 = 1;
const SHUT_WRITE: u32 = 2;
/// `SOL_SOCKET` of the extension, and the options that have an answer.
const LEVEL_SOCKET: u32 = 0;
const OPTION_TYPE: u32 = 1;
const OPTION_ERROR: u32 = 2;
const OPTION_ACCEPTING: u32 = 13;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    standard(links)?;
    making(links)?;
    addresses(links)?;
    options(links)
}

fn standard(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("sock_accept", |caller: Caller<'_, Host>, (fd, flags, out): (u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| {
            slice(memory, out, 4)?;
            let accepted = kernel.accept(fd, flags as u16)?;
            Ok(write_u32(memory, out, accepted)?)
        })
    })?;
    links.waiting(
        "sock_recv",
        |caller: Caller<'_, Host>, (fd, vectors, count, flags, out, out_flags): (u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                let peek = flags & RECV_PEEK != 0;
                write(memory, out_flags, &[0, 0])?;
                // Peeking takes nothing, so a second buffer would be given the same bytes again.
                let count = if peek { count.min(1) } else { count };
                each_vector(memory, (vectors, count), out, |buffer| kernel.recv(fd, buffer, peek))
            })
        },
    )?;
    links.waiting(
        "sock_send",
        |caller: Caller<'_, Host>, (fd, vectors, count, _flags, out): (u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                each_vector(memory, (vectors, count), out, |buffer| kernel.send(fd, buffer))
            })
        },
    )?;
    links.define("sock_shutdown", |mut caller: Caller<'_, Host>, fd: u32, how: u32| {
        call(&mut caller, |kernel, _| match how {
            1..=3 => kernel.shutdown(fd, Shutdown { read: how & SHUT_READ != 0, write: how & SHUT_WRITE != 0 }),
            _ => Err(Errno::Inval),
        })
    })?;
    Ok(())
}

fn making(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("sock_open", |mut caller: Caller<'_, Host>, family: u32, kind: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            slice(memory, out, 4)?;
            match (family, kind) {
                (0..=FAMILY_INET6, 0 | TYPE_STREAM) => {
                    let fd = kernel.socket(family == FAMILY_INET6, false)?;
                    write_u32(memory, out, fd)
                }
                (0..=FAMILY_INET6, _) => Err(Errno::Protonosupport),
                _ => Err(Errno::Afnosupport),
            }
        })
    })?;
    links.define("sock_bind", |mut caller: Caller<'_, Host>, fd: u32, address: u32, port: u32| {
        call(&mut caller, |kernel, memory| {
            let len = read_u32(memory, address.checked_add(4).ok_or(Errno::Fault)?)?;
            if len != 4 && len != 16 {
                return Err(Errno::Inval);
            }
            let port = u16::try_from(port).map_err(|_| Errno::Inval)?;
            kernel.bind(fd, port)
        })
    })?;
    links.define("sock_listen", |mut caller: Caller<'_, Host>, fd: u32, backlog: u32| {
        call(&mut caller, |kernel, _| kernel.listen(fd, backlog))
    })?;
    Ok(())
}

fn addresses(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define(
        "sock_getlocaladdr",
        |mut caller: Caller<'_, Host>, fd: u32, address: u32, kind: u32, port: u32| {
            call(&mut caller, |kernel, memory| {
                let local = kernel.local_address(fd)?;
                write_address(memory, local, address, kind, port)
            })
        },
    )?;
    links.define("sock_getpeeraddr", |mut caller: Caller<'_, Host>, fd: u32, address: u32, kind: u32, port: u32| {
        call(&mut caller, |kernel, memory| {
            let peer = kernel.peer_address(fd)?;
            write_address(memory, peer, address, kind, port)
        })
    })?;
    Ok(())
}

/// Writes an address into the guest's buffer. The type written is 4 or 6, as WasmEdge has it.
fn write_address(memory: &mut [u8], from: SocketAddr, address: u32, kind: u32, port: u32) -> Result<(), Errno> {
    let (buffer, len) = (read_u32(memory, address)?, read_u32(memory, address.checked_add(4).ok_or(Errno::Fault)?)?);
    slice_mut(memory, kind, 4)?;
    slice_mut(memory, port, 4)?;
    let (bytes, family): (Vec<u8>, u32) = match from.ip() {
        IpAddr::V4(ip) => (ip.octets().to_vec(), 4),
        IpAddr::V6(ip) => (ip.octets().to_vec(), 6),
    };
    if (len as usize) < bytes.len() {
        return Err(Errno::Inval);
    }
    write(memory, buffer, &bytes)?;
    write_u32(memory, kind, family)?;
    write_u32(memory, port, u32::from(from.port()))
}

fn options(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define(
        "sock_setsockopt",
        |mut caller: Caller<'_, Host>, fd: u32, _level: u32, _name: u32, value: u32, len: u32| {
            call(&mut caller, |kernel, memory| {
                slice(memory, value, len)?;
                // Buffers, keep-alive and delay are the proxy's; a guest that asks for them is answered yes.
                kernel.socket_kind(fd).map(drop)
            })
        },
    )?;
    links.define(
        "sock_getsockopt",
        |mut caller: Caller<'_, Host>, fd: u32, level: u32, name: u32, value: u32, len: u32| {
            call(&mut caller, |kernel, memory| {
                let kind = kernel.socket_kind(fd)?;
                let answer = match (level, name) {
                    (LEVEL_SOCKET, OPTION_TYPE) => TYPE_STREAM,
                    (LEVEL_SOCKET, OPTION_ERROR) => 0,
                    (LEVEL_SOCKET, OPTION_ACCEPTING) => u32::from(kind == SocketKind::Listening),
                    (LEVEL_SOCKET, _) => 0,
                    _ => return Err(Errno::Noprotoopt),
                };
                if read_u32(memory, len)? < 4 {
                    return Err(Errno::Inval);
                }
                write_u32(memory, value, answer)?;
                write_u32(memory, len, 4)
            })
        },
    )?;
    Ok(())
}
