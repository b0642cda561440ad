//! The `path_*` functions.

use refrain_kernel::files::OpenRequest;
use refrain_kernel::fs::{Follow, Fs, InodeId, MAX_PATH_BYTES, OpenFlags};
use refrain_kernel::{Errno, Kernel, rights};
use wasmtime::Caller;

use super::Links;
use super::descriptor::{encode_filestat, fd_flags, time_change};
use super::memory::{slice, slice_mut, write, write_u32};
use crate::host::{Host, call};

/// `lookupflags`: one bit.
fn follow(lookup_flags: u32) -> Result<Follow, Errno> {
    match lookup_flags {
        0 => Ok(Follow::No),
        1 => Ok(Follow::Yes),
        _ => Err(Errno::Inval),
    }
}

/// `oflags`: four bits.
fn open_flags(bits: u32) -> Result<OpenFlags, Errno> {
    if bits & !15 != 0 {
        return Err(Errno::Inval);
    }
    Ok(OpenFlags { create: bits & 1 != 0, directory: bits & 2 != 0, exclusive: bits & 4 != 0, truncate: bits & 8 != 0 })
}

fn path(memory: &[u8], at: u32, len: u32) -> Result<&[u8], Errno> {
    let path = slice(memory, at, len)?;
    // Before its text is looked at, which may be as long as the memory.
    if path.len() > MAX_PATH_BYTES {
        return Err(Errno::Nametoolong);
    }
    std::str::from_utf8(path).map_err(|_| Errno::Ilseq)?;
    Ok(path)
}

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    open(links)?;
    attributes(links)?;
    names(links)?;
    between(links)
}

/// What a path is opened with: `dirflags`, `oflags`, rights, `fdflags`.
pub(crate) struct Opening {
    pub(crate) dir: u32,
    pub(crate) lookup_flags: u32,
    pub(crate) path: (u32, u32),
    pub(crate) flags: u32,
    pub(crate) rights: u64,
    pub(crate) set: u32,
}

/// Opens a path, and writes its descriptor to `out`.
pub(crate) fn open_at(kernel: &mut Kernel, memory: &mut [u8], opening: &Opening, out: u32) -> Result<(), Errno> {
    slice_mut(memory, out, 4)?;
    let request = OpenRequest {
        dir: opening.dir,
        path: path(memory, opening.path.0, opening.path.1)?,
        follow: follow(opening.lookup_flags)?,
        flags: open_flags(opening.flags)?,
        fd_flags: fd_flags(opening.set)?,
        rights: opening.rights,
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
         flags: u32,
         rights: u64,
         _inheriting: u64,
         set: u32,
         out: u32| {
            let opening = Opening { dir, lookup_flags, path: (at, len), flags, rights, set };
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
                let stat = kernel.stat_path(dir, path(memory, at, len)?, follow(flags)?)?;
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
                kernel.set_times_path(dir, path(memory, at, len)?, follow(flags)?, change)
            })
        },
    )?;
    links.define(
        "path_readlink",
        |mut caller: Caller<'_, Host>, dir: u32, at: u32, len: u32, buffer: u32, size: u32, out: u32| {
            call(&mut caller, |kernel, memory| {
                let path = path(memory, at, len)?;
                let target = kernel
                    .change_names(dir, rights::PATH_READLINK, |fs, dir, _| Ok(fs.readlink(dir, path)?.to_vec()))?;
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
    type Change = fn(&mut Fs, InodeId, &[u8], u64) -> Result<(), Errno>;
    let changes: [(&str, u64, Change); 3] = [
        ("path_create_directory", rights::PATH_CREATE_DIRECTORY, |fs, dir, path, now_ns| {
            fs.mkdir(dir, path, now_ns).map(drop)
        }),
        ("path_remove_directory", rights::PATH_REMOVE_DIRECTORY, |fs, dir, path, now_ns| fs.rmdir(dir, path, now_ns)),
        ("path_unlink_file", rights::PATH_UNLINK_FILE, |fs, dir, path, now_ns| fs.unlink(dir, path, now_ns)),
    ];
    for (name, right, change) in changes {
        links.define(name, move |mut caller: Caller<'_, Host>, dir: u32, at: u32, len: u32| {
            call(&mut caller, |kernel, memory| {
                let path = path(memory, at, len)?;
                kernel.change_names(dir, right, |fs, dir, now_ns| change(fs, dir, path, now_ns))
            })
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
                let to_dir = kernel.directory(to_dir, rights::PATH_RENAME_TARGET)?;
                let right = rights::PATH_RENAME_SOURCE;
                kernel.change_names(dir, right, |fs, dir, now_ns| fs.rename(dir, from, to_dir, to, now_ns))
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
                let to_dir = kernel.directory(to_dir, rights::PATH_LINK_TARGET)?;
                let (right, follow) = (rights::PATH_LINK_SOURCE, follow(flags)?);
                kernel.change_names(dir, right, |fs, dir, now_ns| fs.link(dir, from, follow, to_dir, to, now_ns))
            })
        },
    )?;
    links.define(
        "path_symlink",
        |mut caller: Caller<'_, Host>, target_at: u32, target_len: u32, dir: u32, at: u32, len: u32| {
            call(&mut caller, |kernel, memory| {
                let (target, path) = (path(memory, target_at, target_len)?, path(memory, at, len)?);
                kernel.change_names(dir, rights::PATH_SYMLINK, |fs, dir, now_ns| fs.symlink(target, dir, path, now_ns))
            })
        },
    )?;
    Ok(())
}
