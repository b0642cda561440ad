//! The `fd_*` functions.

use refrain_kernel::descriptor::{Object, flags};
use refrain_kernel::files::Whence;
use refrain_kernel::fs::{FileKind, FileStat, TimeChange};
use refrain_kernel::socket::SocketKind;
use refrain_kernel::{Errno, Kernel, rights};
use wasmtime::Caller;

use super::Links;
use super::memory::{each_vector, slice, slice_mut, write, write_u32, write_u64};
use crate::host::{Host, call, waiting_call};

/// `filetype` of a pipe or a file of the host, as a standard stream of a program that runs by itself.
const TYPE_UNKNOWN: u8 = 0;
/// `filetype` of a terminal-like stream; wasi-libc buffers its output by lines.
const TYPE_CHARACTER_DEVICE: u8 = 2;
const TYPE_DIRECTORY: u8 = 3;
const TYPE_REGULAR_FILE: u8 = 4;
const TYPE_SOCKET_DATAGRAM: u8 = 5;
const TYPE_SOCKET_STREAM: u8 = 6;
/// A preopen that is no directory: guests skip it and look at the next descriptor.
const PREOPEN_OTHER: u8 = 1;
/// `advice` goes from normal to no-reuse.
const LAST_ADVICE: u32 = 5;
/// `fstflags`: four bits.
const ALL_TIME_FLAGS: u32 = 15;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    transfers(links)?;
    positions(links)?;
    attributes(links)?;
    table(links)?;
    preopens(links)
}

fn transfers(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("fd_read", |caller: Caller<'_, Host>, (fd, vectors, count, out): (u32, u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| {
            each_vector(memory, (vectors, count), out, |buffer| kernel.read(fd, buffer))
        })
    })?;
    links.waiting("fd_write", |caller: Caller<'_, Host>, (fd, vectors, count, out): (u32, u32, u32, u32)| {
        waiting_call(caller, move |kernel, memory, _| {
            each_vector(memory, (vectors, count), out, |buffer| kernel.write(fd, buffer))
        })
    })?;
    links.define(
        "fd_pread",
        |mut caller: Caller<'_, Host>, fd: u32, vectors: u32, count: u32, mut at: u64, out: u32| {
            call(&mut caller, |kernel, memory| {
                each_vector(memory, (vectors, count), out, |buffer| {
                    let read = kernel.read_at(fd, at, buffer)?;
                    at += read as u64;
                    Ok(read)
                })
                .map_err(errno)
            })
        },
    )?;
    links.define(
        "fd_pwrite",
        |mut caller: Caller<'_, Host>, fd: u32, vectors: u32, count: u32, mut at: u64, out: u32| {
            call(&mut caller, |kernel, memory| {
                each_vector(memory, (vectors, count), out, |buffer| {
                    let written = kernel.write_at(fd, at, buffer)?;
                    at += written as u64;
                    Ok(written)
                })
                .map_err(errno)
            })
        },
    )?;
    Ok(())
}

/// Calls on files never wait, so a stop is always an errno.
fn errno(stop: refrain_kernel::Stop) -> Errno {
    match stop {
        refrain_kernel::Stop::Errno(errno) => errno,
        refrain_kernel::Stop::Block => Errno::Again,
    }
}

fn positions(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("fd_seek", |mut caller: Caller<'_, Host>, fd: u32, by: i64, whence: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            let whence = match whence {
                0 => Whence::Start,
                1 => Whence::Current,
                2 => Whence::End,
                _ => return Err(Errno::Inval),
            };
            slice_mut(memory, out, 8)?;
            write_u64(memory, out, kernel.seek(fd, by, whence)?)
        })
    })?;
    links.define("fd_tell", |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
        call(&mut caller, |kernel, memory| write_u64(memory, out, kernel.seek(fd, 0, Whence::Current)?))
    })?;
    links.define("fd_allocate", |mut caller: Caller<'_, Host>, fd: u32, offset: u64, len: u64| {
        call(&mut caller, |kernel, _| kernel.allocate(fd, offset, len))
    })?;
    links.define("fd_advise", |mut caller: Caller<'_, Host>, fd: u32, offset: u64, len: u64, advice: u32| {
        call(&mut caller, |kernel, _| match advice {
            0..=LAST_ADVICE => kernel.advise(fd, offset, len),
            _ => Err(Errno::Inval),
        })
    })?;
    for (name, right) in [("fd_sync", rights::FD_SYNC), ("fd_datasync", rights::FD_DATASYNC)] {
        links.define(name, move |mut caller: Caller<'_, Host>, fd: u32| {
            call(&mut caller, |kernel, _| kernel.sync(fd, right))
        })?;
    }
    Ok(())
}

fn attributes(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("fd_filestat_get", |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            let stat = kernel.stat(fd)?;
            let bytes = match stat {
                Some(stat) => encode_filestat(&stat),
                None => encode_stream_stat(file_type(kernel, fd)?),
            };
            write(memory, out, &bytes)
        })
    })?;
    links.define("fd_filestat_set_size", |mut caller: Caller<'_, Host>, fd: u32, size: u64| {
        call(&mut caller, |kernel, _| kernel.set_size(fd, size))
    })?;
    links.define(
        "fd_filestat_set_times",
        |mut caller: Caller<'_, Host>, fd: u32, atime: u64, mtime: u64, flags: u32| {
            call(&mut caller, |kernel, _| {
                let change = time_change(kernel, atime, mtime, flags)?;
                kernel.set_times(fd, change)
            })
        },
    )?;
    links.define("fd_fdstat_get", |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            let kind = file_type(kernel, fd)?;
            let descriptor = kernel.descriptor(fd)?;
            let mut bytes = [0; 24];
            bytes[0] = kind;
            bytes[2..4].copy_from_slice(&descriptor.flags.to_le_bytes());
            bytes[8..16].copy_from_slice(&descriptor.rights.to_le_bytes());
            bytes[16..24].copy_from_slice(&descriptor.inheriting.to_le_bytes());
            write(memory, out, &bytes)
        })
    })?;
    links.define("fd_fdstat_set_flags", |mut caller: Caller<'_, Host>, fd: u32, set: u32| {
        call(&mut caller, |kernel, _| {
            kernel.descriptor(fd)?;
            kernel.set_flags(fd, fd_flags(set)?)
        })
    })?;
    links.define("fd_fdstat_set_rights", |mut caller: Caller<'_, Host>, fd: u32, rights: u64, inheriting: u64| {
        call(&mut caller, |kernel, _| kernel.set_rights(fd, rights, inheriting))
    })?;
    Ok(())
}

/// `fdflags`, of which none may be unknown.
pub(crate) fn fd_flags(bits: u32) -> Result<u16, Errno> {
    let known = u16::try_from(bits).ok().filter(|bits| bits & !flags::ALL == 0);
    known.ok_or(Errno::Inval)
}

fn table(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links
        .define("fd_close", |mut caller: Caller<'_, Host>, fd: u32| call(&mut caller, |kernel, _| kernel.close(fd)))?;
    links.define("fd_renumber", |mut caller: Caller<'_, Host>, from: u32, to: u32| {
        call(&mut caller, |kernel, _| kernel.renumber(from, to))
    })?;
    links.define("fd_readdir", |mut caller: Caller<'_, Host>, fd: u32, at: u32, len: u32, cookie: u64, out: u32| {
        call(&mut caller, |kernel, memory| {
            slice(memory, out, 4)?;
            let used = read_directory(kernel, fd, cookie, slice_mut(memory, at, len)?)?;
            kernel.add_work(u64::from(used));
            write_u32(memory, out, used)
        })
    })?;
    Ok(())
}

/// Fills `buffer` with directory entries; the last may be cut, which tells the guest to ask for more.
fn read_directory(kernel: &Kernel, fd: u32, cookie: u64, buffer: &mut [u8]) -> Result<u32, Errno> {
    let mut used = 0;
    for entry in kernel.read_directory(fd, cookie)? {
        let mut bytes = Vec::with_capacity(24 + entry.name.len());
        bytes.extend_from_slice(&entry.next_cookie.to_le_bytes());
        bytes.extend_from_slice(&entry.inode.0.to_le_bytes());
        bytes.extend_from_slice(&(entry.name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[entry.kind as u8, 0, 0, 0]);
        bytes.extend_from_slice(entry.name);
        let fits = bytes.len().min(buffer.len() - used);
        buffer[used..used + fits].copy_from_slice(&bytes[..fits]);
        used += fits;
        if used == buffer.len() {
            break;
        }
    }
    Ok(used as u32)
}

fn preopens(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("fd_prestat_get", |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            let (kind, len) = match &kernel.descriptor(fd)?.object {
                Object::Directory { preopen: Some(name), .. } => (0, name.len() as u32),
                Object::Socket { .. } => (PREOPEN_OTHER, 0),
                _ => return Err(Errno::Badf),
            };
            let mut bytes = [0; 8];
            bytes[0] = kind;
            bytes[4..].copy_from_slice(&len.to_le_bytes());
            write(memory, out, &bytes)
        })
    })?;
    links.define("fd_prestat_dir_name", |mut caller: Caller<'_, Host>, fd: u32, at: u32, len: u32| {
        call(&mut caller, |kernel, memory| {
            let Object::Directory { preopen: Some(name), .. } = &kernel.descriptor(fd)?.object else {
                return Err(Errno::Notdir);
            };
            if name.len() > len as usize {
                return Err(Errno::Nametoolong);
            }
            write(memory, at, name)
        })
    })?;
    Ok(())
}

fn file_type(kernel: &Kernel, fd: u32) -> Result<u8, Errno> {
    Ok(match &kernel.descriptor(fd)?.object {
        object @ (Object::Input | Object::Output(_)) if kernel.is_terminal(object) => TYPE_CHARACTER_DEVICE,
        Object::Input | Object::Output(_) => TYPE_UNKNOWN,
        Object::File { .. } => TYPE_REGULAR_FILE,
        Object::Directory { .. } => TYPE_DIRECTORY,
        Object::Socket { .. } | Object::Flow { .. } | Object::Datagram { .. } => match kernel.socket_kind(fd)? {
            SocketKind::Idle | SocketKind::Listening | SocketKind::Connected => TYPE_SOCKET_STREAM,
            SocketKind::Datagram => TYPE_SOCKET_DATAGRAM,
        },
    })
}

fn encode_stream_stat(kind: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[16] = kind;
    bytes
}

/// `filestat`: device 1 everywhere, as there is one file system.
pub(super) fn encode_filestat(stat: &FileStat) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut put = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(0, 1);
    put(8, stat.inode.0);
    put(24, u64::from(stat.links));
    put(32, stat.size_bytes);
    put(40, stat.atime_ns);
    put(48, stat.mtime_ns);
    put(56, stat.ctime_ns);
    bytes[16] = match stat.kind {
        FileKind::Directory => TYPE_DIRECTORY,
        FileKind::File => TYPE_REGULAR_FILE,
        FileKind::Symlink => FileKind::Symlink as u8,
    };
    bytes
}

/// `fstflags`: 1 atime as given, 2 atime now, 4 mtime as given, 8 mtime now; given and now exclude each other.
pub(super) fn time_change(kernel: &Kernel, atime_ns: u64, mtime_ns: u64, flags: u32) -> Result<TimeChange, Errno> {
    if flags & !ALL_TIME_FLAGS != 0 {
        return Err(Errno::Inval);
    }
    let choose = |given: u32, now: u32, value: u64| match (flags & given != 0, flags & now != 0) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(Some(value)),
        (false, true) => Ok(Some(kernel.now_ns())),
        (false, false) => Ok(None),
    };
    Ok(TimeChange { atime_ns: choose(1, 2, atime_ns)?, mtime_ns: choose(4, 8, mtime_ns)? })
}
