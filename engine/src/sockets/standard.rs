//! The four socket functions of preview 1. They are WasmEdge's too, where names and types are the same. A flag that preview 1
//! does not have is an error; of `siflags` it has none.

use refrain_kernel::Errno;
use wasmtime::Caller;

use super::{Buffers, RECV_PEEK, RECV_WAIT_ALL, receive, shutdown, transmit};
use crate::host::{Host, call, waiting_call};
use crate::links::Links;
use crate::preview1::fd_flags;
use crate::preview1::memory::{slice, write, write_u32};

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("sock_accept", |caller: Caller<'_, Host>, (fd, flags, out): (u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| {
            slice(memory, out, 4)?;
            let accepted = kernel.accept(fd, fd_flags(flags)?)?;
            Ok(write_u32(memory, out, accepted)?)
        })
    })?;
    connected(links, RECV_PEEK | RECV_WAIT_ALL, 0)?;
    links.define("sock_shutdown", |mut caller: Caller<'_, Host>, fd: u32, how: u32| {
        call(&mut caller, |kernel, _| shutdown(kernel, fd, how))
    })
}

/// Calls on sockets that are connected, with the flags that are no errors of each.
pub(super) fn connected(links: &mut Links<'_>, of_recv: u32, of_send: u32) -> wasmtime::Result<()> {
    links.waiting(
        "sock_recv",
        move |caller: Caller<'_, Host>, (fd, at, count, flags, total, out_flags): (u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                slice(memory, out_flags, 2)?;
                known(flags, of_recv)?;
                let received = receive(kernel, memory, fd, Buffers { vectors: (at, count), total }, flags)?;
                Ok(write(memory, out_flags, &received.flags.to_le_bytes())?)
            })
        },
    )?;
    links.waiting(
        "sock_send",
        move |caller: Caller<'_, Host>, (fd, at, count, flags, total): (u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                known(flags, of_send)?;
                transmit(kernel, memory, fd, Buffers { vectors: (at, count), total }, None)
            })
        },
    )
}

/// Refuses flags that are not among these.
fn known(flags: u32, all: u32) -> Result<(), Errno> {
    if flags & !all == 0 { Ok(()) } else { Err(Errno::Inval) }
}
