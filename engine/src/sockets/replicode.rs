//! RepliCode's socket calls: a buffer is a pointer and a length, a listener is never bound, and every failure is 1 but
//! for 11, "try again", which its programs look for.
//!
//! A program knows no port of its own. The first that listens gets the first of the service's ports, the next one the
//! next.

use std::net::{Ipv4Addr, SocketAddr};

use refrain_kernel::socket::Shutdown;
use refrain_kernel::{Errno, Kernel, Stop};
use wasmtime::Caller;

use super::SHUT_READ;
use super::SHUT_WRITE;
use crate::host::{Host, call, waiting_call};
use crate::links::Links;
use crate::preview1::memory::{read, slice, slice_mut, write_u32};

/// What a call returns when it failed, and when it is to be made again.
const FAILED: i32 = 1;
const AGAIN: i32 = 11;
/// `domain`s and types that are known; its programs pass 1 or 2 for IPv4.
const KNOWN: std::ops::RangeInclusive<u32> = 1..=2;
const TYPE_STREAM: u32 = 1;
/// Bytes of a `sockaddr_in` that count.
const SOCKADDR_BYTES: u32 = 8;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    making(links)?;
    connecting(links)?;
    transfers(links)?;
    ending(links)?;
    links.waiting_silent("__builtin_rt_yield", |caller: Caller<'_, Host>| {
        waiting_call(caller, |kernel, _, _| kernel.read_clock().map(drop))
    })
}

/// A result in RepliCode's numbers.
fn told(result: Result<(), Stop>) -> Result<i32, Stop> {
    match result {
        Ok(()) => Ok(0),
        Err(Stop::Block) => Err(Stop::Block),
        Err(Stop::Errno(Errno::Again)) => Ok(AGAIN),
        Err(Stop::Errno(_)) => Ok(FAILED),
    }
}

/// The same for a call that never waits.
fn told_at_once(result: Result<(), Errno>) -> Result<i32, Errno> {
    Ok(if result.is_ok() { 0 } else { FAILED })
}

fn making(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("sock_open", |mut caller: Caller<'_, Host>, domain: u32, kind: u32, _protocol: u32, out: u32| {
        call(&mut caller, |kernel, memory| told_at_once(open(kernel, memory, (domain, kind), out)))
    })?;
    links.define("sock_listen", |mut caller: Caller<'_, Host>, fd: u32, backlog: u32| {
        call(&mut caller, |kernel, _| told_at_once(listen(kernel, fd, backlog)))
    })
}

fn open(kernel: &mut Kernel, memory: &mut [u8], (domain, kind): (u32, u32), out: u32) -> Result<(), Errno> {
    slice(memory, out, 4)?;
    if !KNOWN.contains(&domain) || !KNOWN.contains(&kind) {
        return Err(Errno::Inval);
    }
    let fd = kernel.socket(false, kind != TYPE_STREAM)?;
    write_u32(memory, out, fd)
}

fn listen(kernel: &mut Kernel, fd: u32, backlog: u32) -> Result<(), Errno> {
    if kernel.local_address(fd)?.port() == 0 {
        let taken: Vec<u16> = kernel.listening().collect();
        kernel.add_work(taken.len() as u64 * kernel.config().ports.len() as u64);
        let ports = kernel.config().ports.iter().filter(|port| !port.datagram).map(|port| port.port);
        if let Some(free) = ports.into_iter().find(|port| !taken.contains(port)) {
            kernel.bind(fd, free)?;
        }
    }
    kernel.listen(fd, backlog)
}

fn connecting(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("sock_accept", |caller: Caller<'_, Host>, (fd, _flags, out): (u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| told(accept(kernel, memory, fd, out)))
    })?;
    links.waiting("sock_connect", |caller: Caller<'_, Host>, (fd, address, len): (u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, first| {
            let address = read_address(memory, address, len).map_err(Stop::Errno);
            told(address.and_then(|address| kernel.connect(fd, address, first)))
        })
    })
}

fn accept(kernel: &mut Kernel, memory: &mut [u8], fd: u32, out: u32) -> Result<(), Stop> {
    slice(memory, out, 4)?;
    let accepted = kernel.accept(fd, 0)?;
    Ok(write_u32(memory, out, accepted)?)
}

/// A `sockaddr_in`: `family u16 | port u16, high byte first | address`.
fn read_address(memory: &[u8], at: u32, len: u32) -> Result<SocketAddr, Errno> {
    if len < SOCKADDR_BYTES {
        return Err(Errno::Inval);
    }
    let bytes: [u8; SOCKADDR_BYTES as usize] = read(memory, at)?;
    let [_, _, high, low, a, b, c, d] = bytes;
    Ok(SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))))
}

fn transfers(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting(
        "sock_recv",
        |caller: Caller<'_, Host>, (fd, at, len, _flags, total, out_flags): (u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                told(receive(kernel, memory, fd, (at, len), (total, out_flags)))
            })
        },
    )?;
    links.waiting("sock_send", |caller: Caller<'_, Host>, (fd, at, len, _flags, total): (u32, u32, u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| told(send(kernel, memory, fd, (at, len), total)))
    })
}

fn receive(
    kernel: &mut Kernel,
    memory: &mut [u8],
    fd: u32,
    (at, len): (u32, u32),
    (total, out_flags): (u32, u32),
) -> Result<(), Stop> {
    slice(memory, total, 4)?;
    // Its programs pass no pointer for the flags.
    if out_flags != 0 {
        slice(memory, out_flags, 4)?;
    }
    let received = kernel.recv(fd, slice_mut(memory, at, len)?, false)?;
    if out_flags != 0 {
        write_u32(memory, out_flags, 0)?;
    }
    Ok(write_u32(memory, total, received as u32)?)
}

fn send(kernel: &mut Kernel, memory: &mut [u8], fd: u32, (at, len): (u32, u32), total: u32) -> Result<(), Stop> {
    slice(memory, total, 4)?;
    let sent = kernel.send(fd, slice(memory, at, len)?)?;
    Ok(write_u32(memory, total, sent as u32)?)
}

/// Both calls end a connection for good, and free its descriptor.
fn ending(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("sock_close", |mut caller: Caller<'_, Host>, fd: u32| {
        call(&mut caller, |kernel, _| told_at_once(close(kernel, fd)))
    })?;
    links.define("sock_shutdown", |mut caller: Caller<'_, Host>, fd: u32, how: u32| {
        call(&mut caller, |kernel, _| {
            let known = how & !(SHUT_READ | SHUT_WRITE) == 0;
            told_at_once(if known { close(kernel, fd) } else { Err(Errno::Inval) })
        })
    })
}

fn close(kernel: &mut Kernel, fd: u32) -> Result<(), Errno> {
    kernel.socket_kind(fd)?;
    // Not connected is no failure: there is nothing to shut down.
    let _ = kernel.shutdown(fd, Shutdown { read: true, write: true });
    kernel.close(fd)
}
