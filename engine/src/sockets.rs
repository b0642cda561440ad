//! The socket functions of every family: preview 1's own, WasmEdge's two forms, WASIX, RepliCode's.
//!
//! Each family is a thin layer: it reads its own layouts from the guest's memory, calls the one socket API of the
//! kernel, and writes its own layouts back. Which function an import means is decided before, from its type
//! (`refrain_inspect::link_names`); here every family has a module of its own to link under.

mod replicode;
mod standard;
mod wasix;
mod wasmedge;

use std::net::SocketAddr;

use refrain_inspect::abi::Family;
use refrain_kernel::datagram::Received as Datagram;
use refrain_kernel::descriptor::flags;
use refrain_kernel::socket::{Shutdown, SocketKind};
use refrain_kernel::{Errno, Kernel, Stop};
use refrain_wire::outward::{MAX_DATAGRAM_BYTES, MAX_HOST_NAME_BYTES};

pub(crate) use wasix::read_address as wasix_address;
pub(crate) use wasmedge::read_address as wasmedge_address;

use crate::links::Links;
use crate::preview1::memory::{each_vector, element, slice, vectors, write, write_u32};

/// `riflags`: what was received stays.
const RECV_PEEK: u32 = 1;
/// `riflags`: the call waits for all bytes that it has room for.
const RECV_WAIT_ALL: u32 = 2;
/// `riflags` of WASIX: the call does not wait.
const RECV_DONT_WAIT: u32 = 8;
/// All `riflags` that there are in some family. WASIX's 4 asks for what `roflags` tells in any case.
const RECV_KNOWN: u32 = 15;
/// `roflags`: the datagram was longer than the buffers.
const RECV_TRUNCATED: u16 = 1;
/// `sdflags`.
const SHUT_READ: u32 = 1;
const SHUT_WRITE: u32 = 2;
/// Bytes of a host's name that are read: one more than a dot at its end leaves of the longest, so that a longer one is
/// seen to be too long.
const MAX_HOST_TEXT_BYTES: u32 = MAX_HOST_NAME_BYTES as u32 + 2;

/// Links every function of every family.
pub(crate) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    standard::add_to(links.of(Family::Preview1))?;
    wasmedge::add_to(links)?;
    wasix::add_to(links.of(Family::Wasix))?;
    replicode::add_to(links.of(Family::Replicode))
}

/// Where a call puts what it received: `iovec`s and their number, then its length.
#[derive(Clone, Copy)]
struct Buffers {
    vectors: (u32, u32),
    total: u32,
}

/// What came with received bytes.
struct Received {
    /// Who sent the datagram; none on a connection.
    datagram_of: Option<SocketAddr>,
    /// `roflags`.
    flags: u16,
}

impl Received {
    /// Who sent them; unknown when the connection is gone.
    fn from(&self, kernel: &Kernel, fd: u32) -> Option<SocketAddr> {
        self.datagram_of.or_else(|| kernel.peer_address(fd).ok())
    }
}

/// Receives from a connection, or a datagram from anyone, and writes the total length.
fn receive(kernel: &mut Kernel, memory: &mut [u8], fd: u32, to: Buffers, flags: u32) -> Result<Received, Stop> {
    if flags & !RECV_KNOWN != 0 {
        return Err(Errno::Inval.into());
    }
    if flags & RECV_DONT_WAIT != 0 {
        return without_waiting(kernel, fd, |kernel| receive(kernel, memory, fd, to, flags & !RECV_DONT_WAIT));
    }
    let peek = flags & RECV_PEEK != 0;
    if kernel.socket_kind(fd)? == SocketKind::Datagram {
        return receive_datagram(kernel, memory, fd, to, peek);
    }
    // Peeking takes nothing, so another buffer would be given the same bytes again.
    let given = if peek { first_with_room(memory, to.vectors)? } else { to.vectors };
    if flags & RECV_WAIT_ALL != 0 {
        let wanted = vectors(memory, given.0, given.1)?.iter().map(|(_, len)| u64::from(*len)).sum();
        kernel.await_all(fd, wanted)?;
    }
    each_vector(memory, given, to.total, |buffer| kernel.recv(fd, buffer, peek))?;
    Ok(Received { datagram_of: None, flags: 0 })
}

/// The first of an array of buffers that is not empty, as an array of its own; the last where all are.
fn first_with_room(memory: &[u8], (base, count): (u32, u32)) -> Result<(u32, u32), Errno> {
    let empty = vectors(memory, base, count)?.iter().take_while(|(_, len)| *len == 0).count() as u32;
    Ok((element(base, empty.min(count.saturating_sub(1)), 8)?, count.min(1)))
}

fn receive_datagram(
    kernel: &mut Kernel,
    memory: &mut [u8],
    fd: u32,
    to: Buffers,
    peek: bool,
) -> Result<Received, Stop> {
    slice(memory, to.total, 4)?;
    let vectors = vectors(memory, to.vectors.0, to.vectors.1)?;
    let room = vectors.iter().fold(0usize, |sum, (_, len)| sum.saturating_add(*len as usize));
    let mut buffer = vec![0; room.min(MAX_DATAGRAM_BYTES)];
    let Datagram { copied, length, peer } = kernel.recv_from(fd, &mut buffer, peek)?;
    let mut rest = &buffer[..copied];
    for (at, len) in vectors {
        let (part, after) = rest.split_at(rest.len().min(len as usize));
        write(memory, at, part)?;
        rest = after;
    }
    write_u32(memory, to.total, copied as u32)?;
    let flags = if length > copied { RECV_TRUNCATED } else { 0 };
    Ok(Received { datagram_of: Some(peer), flags })
}

/// Sends on a connection, or a datagram to where the socket is connected to or to `to`; writes the total length.
fn transmit(
    kernel: &mut Kernel,
    memory: &mut [u8],
    fd: u32,
    from: Buffers,
    to: Option<SocketAddr>,
) -> Result<(), Stop> {
    if kernel.socket_kind(fd)? != SocketKind::Datagram {
        return each_vector(memory, from.vectors, from.total, |buffer| kernel.send(fd, buffer));
    }
    slice(memory, from.total, 4)?;
    let vectors = vectors(memory, from.vectors.0, from.vectors.1)?;
    let size = vectors.iter().fold(0usize, |sum, (_, len)| sum.saturating_add(*len as usize));
    if size > MAX_DATAGRAM_BYTES {
        return Err(Errno::Msgsize.into());
    }
    let mut datagram = Vec::with_capacity(size);
    for (at, len) in vectors {
        datagram.extend_from_slice(slice(memory, at, len)?);
    }
    let sent = kernel.send_to(fd, &datagram, to)?;
    Ok(write_u32(memory, from.total, sent as u32)?)
}

/// A text that may end with a zero, and is longer than any name of a host or a service when it does not end by `limit`
/// bytes: what follows is not looked at.
fn text(memory: &[u8], (at, len): (u32, u32), limit: u32) -> Result<Vec<u8>, Errno> {
    let bytes = &slice(memory, at, len)?[..len.min(limit) as usize];
    Ok(bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

/// Runs a call as if the descriptor did not wait.
pub(crate) fn without_waiting<T>(
    kernel: &mut Kernel,
    fd: u32,
    call: impl FnOnce(&mut Kernel) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let before = kernel.descriptor(fd)?.flags;
    kernel.descriptor_mut(fd)?.flags = before | flags::NONBLOCK;
    let result = call(kernel);
    kernel.descriptor_mut(fd)?.flags = before;
    result
}

/// `shutdown`, by `sdflags`.
fn shutdown(kernel: &mut Kernel, fd: u32, how: u32) -> Result<(), Errno> {
    match how {
        1..=3 => kernel.shutdown(fd, Shutdown { read: how & SHUT_READ != 0, write: how & SHUT_WRITE != 0 }),
        _ => Err(Errno::Inval),
    }
}

/// What a socket option is about, whatever its number in a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SocketOption {
    /// 1 for a stream, 2 for datagrams, as WASIX has it.
    Type,
    /// What went wrong, once.
    Error,
    /// Whether it listens.
    Listening,
    /// Bytes of a buffer.
    BufferBytes,
    /// 6 or 17.
    Protocol,
    /// Anything else: the kernel has no behaviour behind it. Setting it is taken, and its value is 0: keep-alive, delay
    /// and routes are the proxy's, and no call has a time limit of its own.
    Other,
}

/// The value of an option.
fn option(kernel: &mut Kernel, fd: u32, option: SocketOption) -> Result<u32, Errno> {
    let kind = kernel.socket_kind(fd)?;
    let datagram = kind == SocketKind::Datagram;
    Ok(match option {
        SocketOption::Type => 1 + u32::from(datagram),
        SocketOption::Protocol => {
            if datagram {
                17
            } else {
                6
            }
        }
        SocketOption::Error => kernel.take_socket_error(fd)?.map_or(0, |errno| u32::from(errno.code())),
        SocketOption::Listening => u32::from(kind == SocketKind::Listening),
        SocketOption::BufferBytes => u32::try_from(kernel.config().socket_buffer_bytes).unwrap_or(u32::MAX),
        SocketOption::Other => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_buffer_with_room_is_the_one_that_is_peeked_into() {
        let mut memory = vec![0; 64];
        for (at, len) in [(4, 0), (12, 0), (20, 5), (28, 6)] {
            write_u32(&mut memory, at, len).expect("it is within the memory");
        }
        assert_eq!(first_with_room(&memory, (0, 4)), Ok((16, 1)));
        assert_eq!(first_with_room(&memory, (24, 1)), Ok((24, 1)));
        assert_eq!(first_with_room(&memory, (0, 2)), Ok((8, 1)), "all are empty");
        assert_eq!(first_with_room(&memory, (0, 0)), Ok((0, 0)));
        assert_eq!(first_with_room(&memory, (60, 1)), Err(Errno::Fault));
    }
}
