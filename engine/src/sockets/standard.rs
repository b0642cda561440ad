//! The four socket functions of preview 1. They are those of other families too, where names and types are the same.

use wasmtime::Caller;

use super::{Buffers, receive, shutdown, transmit};
use crate::host::{Host, call, waiting_call};
use crate::links::Links;
use crate::preview1::memory::{slice, write, write_u32};

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("sock_accept", |caller: Caller<'_, Host>, (fd, flags, out): (u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| {
            slice(memory, out, 4)?;
            let accepted = kernel.accept(fd, flags as u16)?;
            Ok(write_u32(memory, out, accepted)?)
        })
    })?;
    links.waiting(
        "sock_recv",
        |caller: Caller<'_, Host>, (fd, at, count, flags, total, out_flags): (u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                slice(memory, out_flags, 2)?;
                let received = receive(kernel, memory, fd, Buffers { vectors: (at, count), total }, flags)?;
                Ok(write(memory, out_flags, &received.flags.to_le_bytes())?)
            })
        },
    )?;
    links.waiting(
        "sock_send",
        |caller: Caller<'_, Host>, (fd, at, count, _flags, total): (u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                transmit(kernel, memory, fd, Buffers { vectors: (at, count), total }, None)
            })
        },
    )?;
    links.define("sock_shutdown", |mut caller: Caller<'_, Host>, fd: u32, how: u32| {
        call(&mut caller, |kernel, _| shutdown(kernel, fd, how))
    })
}
