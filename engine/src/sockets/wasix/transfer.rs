//! Datagrams and files on their way through sockets.

use refrain_kernel::{Errno, Stop};
use wasmtime::Caller;

use super::super::{Buffers, receive, standard, transmit};
use super::address::{ADDRESS_PORT_BYTES, put_address, read_address};
use crate::host::{Host, waiting_call};
use crate::links::Links;
use crate::preview1::memory::{slice, write, write_u64};

/// Bytes of a file that are read at once.
const PIECE_BYTES: u64 = 64 * 1024;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    // Preview 1's, but a flag that it does not have is no error.
    standard::connected(links, u32::MAX, u32::MAX)?;
    links.waiting(
        "sock_recv_from",
        |caller: Caller<'_, Host>,
         (fd, at, count, flags, total, out_flags, address): (u32, u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                slice(memory, out_flags, 2)?;
                slice(memory, address, ADDRESS_PORT_BYTES)?;
                let received = receive(kernel, memory, fd, Buffers { vectors: (at, count), total }, flags)?;
                received.from(kernel, fd).map_or(Ok(()), |from| put_address(memory, address, from))?;
                Ok(write(memory, out_flags, &received.flags.to_le_bytes())?)
            })
        },
    )?;
    links.waiting(
        "sock_send_to",
        |caller: Caller<'_, Host>, (fd, at, count, _flags, address, total): (u32, u32, u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                let to = read_address(memory, address)?;
                transmit(kernel, memory, fd, Buffers { vectors: (at, count), total }, Some(to))
            })
        },
    )?;
    links.waiting(
        "sock_send_file",
        |caller: Caller<'_, Host>, (fd, file, offset, count, out): (u32, u32, u64, u64, u32)| {
            waiting_call(caller, move |kernel, memory, _| {
                slice(memory, out, 8)?;
                let mut sent = 0;
                while sent < count {
                    let at = offset.checked_add(sent).ok_or(Errno::Overflow)?;
                    let mut piece = vec![0; (count - sent).min(PIECE_BYTES) as usize];
                    let read = kernel.read_at(file, at, &mut piece)?;
                    if read == 0 {
                        break;
                    }
                    match kernel.send(fd, &piece[..read]) {
                        Ok(taken) => sent += taken as u64,
                        // What was taken before counts.
                        Err(_) if sent > 0 => break,
                        Err(stop) => return Err(stop),
                    }
                }
                Ok::<(), Stop>(write_u64(memory, out, sent)?)
            })
        },
    )
}
