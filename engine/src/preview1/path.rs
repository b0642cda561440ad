//! The `path_*` functions.

use refrain_kernel::files::OpenRequest;
use refrain_kernel::fs::{Follow, OpenFlags};
use refrain_kernel::{Errno, Kernel};
use wasmtime::Caller;

use super::Links;
use super::descriptor::{encode_filestat, time_change};
use super::memory::{slice, slice_mut, write, write_u32};
use crate::host::{Host, call};

const FOLLOW_SYMLINK: u32 = 1;

fn follow(lookup_flags: u32) -> Follow {
    if lookup_flags & FOLLOW_SYMLINK != 0 { Follow::Yes } else { Follow::No }
}

fn path(memory: &[u8], at: u32, len: u32) -> Result<&[u8], Errno> {
    let path = slice(memory, at, len)?;
    std::str::from_utf8(path).map_err(|_| Errno::Ilseq)?;
    Ok(path)
}

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    open(links)?;
    attributes(links)?;
    names(links)?;
    between(links)
}

/// What a path is opened with: `dirflags`, `oflags`, both rights, `fdflags`.
pub(crate) struct Opening {
    pub(crate) dir: u32,
    pub(crate) lookup_flags: u32,
    pub(crate) path: (u32, u32),
    pub(crate) open_flags: u32,
    pub(crate) rights: (u64, u64),
    pub(crate) fd_flags: u32,
}

/// Opens a path, and writes its descriptor to `out`.
pub(crate) fn open_at(kernel: &mut Kernel, memory: &mut [u8], opening: &Opening, out: u32) -> Result<(), Errno> {
    slice_mut(memory, out, 4)?;
    let flags = opening.open_flags;
    let request = OpenRequest {
        dir: opening.dir,
        path: path(memory, opening.path.0, opening.path.1)?,
        follow: follow(opening.lookup_flags),
        flags: OpenFlags {
            create: flags & 1 != 0,
            directory: flags & 2 != 0,
            exclusive: flags & 4 != 0,
            truncate: flags & 8 != 0,
        },
        fd_flags: opening.fd_flags as u16,
        rights: opening.rights.0,
        inheriting: opening.rights.1,
    };
    let fd = kernel.open_path(&request)?;
    write_u32(memory, out, fd)
}

fn open(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define(
        "path_open",
        |mut caller: Caller<'_, Host>,
         dir: u32,
         lookup_flags: u32,
         at: u32,
         len: u32,
         open_flags: u32,
         rights: u64,
         inheriting: u64,
         fd_flags: u32,
         out: u32| {
            let rights = (rights, inheriting);
            let opening = Opening { dir, lookup_flags, path: (at, len), open_flags, rights, fd_flags };
            call(&mut caller, |kernel, memory| open_at(kernel, memory, &opening, out))
        },
    )?;
    Ok(())
}

fn attributes(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define(
        "path_filestat_get",
        |mut caller: Caller<'_, Host>, dir: u32, flags: u32, at: u32, len: u32, out: u32| {
            call(&mut caller, |kernel, memory| {
                let stat = kernel.stat_path(dir, path(memory, at, len)?, follow(flags))?;
                write(memory, out, &encode_filestat(&stat))
            })
        },
    )?;
    links.define(
        "path_filestat_set_times",
        |mut caller: Caller<'_, Host>,
         dir: u32,
         flags: u32,
         at: u32,
         len: u32,
         atime: u64,
         mtime: u64,
         time_flags: u32| {
            call(&mut caller, |kernel, memory| {
                let change = time_change(kernel, atime, mtime, time_flags)?;
                kernel.set_times_path(dir, path(memory, at, len)?, follow(flags), change)
            })
        },
    )?;
    links.define(
        "path_readlink",
        |mut caller: Caller<'_, Host>, dir: u32, at: u32, len: u32, buffer: u32, size: u32, out: u32| {
            call(&mut caller, |kernel, memory| {
                let path = path(memory, at, len)?;
                let target = kernel.change_names(dir, |fs, dir, _| Ok(fs.readlink(dir, path)?.to_vec()))?;
                let fits = target.len().min(size as usize);
                slice_mut(memory, out, 4)?;
                write(memory, buffer, &target[..fits])?;
                write_u32(memory, out, fits as u32)
            })
        },
    )?;
    Ok(())
}

/// Functions of a directory and one path that change names.
fn names(links: &mut Links<'_>) -> wasmtime::Result<()> {
    type Change = fn(&mut Kernel, u32, &[u8]) -> Result<(), Errno>;
    let changes: [(&str, Change); 3] = [
        ("path_create_directory", |kernel, dir, path| {
            kernel.change_names(dir, |fs, dir, now_ns| fs.mkdir(dir, path, now_ns).map(drop))
        }),
        ("path_remove_directory", |kernel, dir, path| {
            kernel.change_names(dir, |fs, dir, now_ns| fs.rmdir(dir, path, now_ns))
        }),
        ("path_unlink_file", |kernel, dir, path| {
            kernel.change_names(dir, |fs, dir, now_ns| fs.unlink(dir, path, now_ns))
        }),
    ];
    for (name, change) in changes {
        links.define(name, move |mut caller: Caller<'_, Host>, dir: u32, at: u32, len: u32| {
            call(&mut caller, |kernel, memory| change(kernel, dir, path(memory, at, len)?))
        })?;
    }
    Ok(())
}

/// Functions of two paths.
fn between(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define(
        "path_rename",
        |mut caller: Caller<'_, Host>, dir: u32, at: u32, len: u32, to_dir: u32, to_at: u32, to_len: u32| {
            call(&mut caller, |kernel, memory| {
                let (from, to) = (path(memory, at, len)?, path(memory, to_at, to_len)?);
                let to_dir = kernel.directory(to_dir)?;
                kernel.change_names(dir, |fs, dir, now_ns| fs.rename(dir, from, to_dir, to, now_ns))
            })
        },
    )?;
    links.define(
        "path_link",
        |mut caller: Caller<'_, Host>,
         dir: u32,
         flags: u32,
         at: u32,
         len: u32,
         to_dir: u32,
         to_at: u32,
         to_len: u32| {
            call(&mut caller, |kernel, memory| {
                let (from, to) = (path(memory, at, len)?, path(memory, to_at, to_len)?);
                let to_dir = kernel.directory(to_dir)?;
                kernel.change_names(dir, |fs, dir, now_ns| fs.link(dir, from, follow(flags), to_dir, to, now_ns))
            })
        },
    )?;
    links.define(
        "path_symlink",
        |mut caller: Caller<'_, Host>, target_at: u32, target_len: u32, dir: u32, at: u32, len: u32| {
            call(&mut caller, |kernel, memory| {
                let (target, path) = (path(memory, target_at, target_len)?, path(memory, at, len)?);
                kernel.change_names(dir, |fs, dir, now_ns| fs.symlink(target, dir, path, now_ns))
            })
        },
    )?;
    Ok(())
}
