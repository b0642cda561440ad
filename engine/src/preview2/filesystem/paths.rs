//! Functions of a directory and a path.

use refrain_kernel::files::OpenRequest;
use refrain_kernel::fs::{Follow, Fs, InodeId, MAX_PATH_BYTES, OpenFlags};
use refrain_kernel::{Errno, rights};
use wasmtime::component::Resource;

use super::{Interface, SYNC_FLAGS, descriptor_stat, metadata_hash, time_change, with};
use crate::preview2::resources::File;
use crate::preview2::wit::{DescriptorFlags, FileError, NewTimestamp, OpenAtFlags, PathFlags};

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    open(types)?;
    attributes(types)?;
    names(types)?;
    between(types)
}

/// A path of a length that the kernel looks at.
fn checked(path: &str) -> Result<&[u8], Errno> {
    if path.len() > MAX_PATH_BYTES { Err(Errno::Nametoolong) } else { Ok(path.as_bytes()) }
}

fn follow(flags: PathFlags) -> Follow {
    if flags & PathFlags::SYMLINK_FOLLOW == PathFlags::SYMLINK_FOLLOW { Follow::Yes } else { Follow::No }
}

fn has(flags: DescriptorFlags, one: DescriptorFlags) -> bool {
    flags & one == one
}

/// What may be done with the contents of a file. One that is opened for nothing can be read, as on systems.
fn contents(asked: DescriptorFlags) -> u64 {
    match (has(asked, DescriptorFlags::READ), has(asked, DescriptorFlags::WRITE)) {
        (_, false) => rights::FD_READ,
        (false, true) => rights::FD_WRITE,
        (true, true) => rights::FD_READ | rights::FD_WRITE,
    }
}

type OpenArguments = (Resource<File>, PathFlags, String, OpenAtFlags, DescriptorFlags);

fn open(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.define("[method]descriptor.open-at", |call, (dir, path_flags, path, how, asked): OpenArguments| {
        let wants = |flag| how & flag == flag;
        let synced = SYNC_FLAGS.iter().filter(|(_, flag)| has(asked, *flag)).fold(0, |all, (bit, _)| all | bit);
        let opened = with(call, &dir, |kernel, fd| {
            if has(asked, DescriptorFlags::MUTATE_DIRECTORY) && kernel.descriptor(fd)?.read_only {
                return Err(Errno::Rofs);
            }
            kernel.open_path(&OpenRequest {
                dir: fd,
                path: checked(&path)?,
                follow: follow(path_flags),
                flags: OpenFlags {
                    create: wants(OpenAtFlags::CREATE),
                    directory: wants(OpenAtFlags::DIRECTORY),
                    exclusive: wants(OpenAtFlags::EXCLUSIVE),
                    truncate: wants(OpenAtFlags::TRUNCATE),
                },
                fd_flags: synced,
                rights: contents(asked),
            })
        })?;
        match opened {
            Ok(fd) => Ok(Ok(call.add(File { fd })?)),
            Err(error) => Ok(Err::<Resource<File>, FileError>(error)),
        }
    })
}

fn attributes(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Named = (Resource<File>, PathFlags, String);
    types.define("[method]descriptor.stat-at", |call, (dir, flags, path): Named| {
        with(call, &dir, |kernel, fd| Ok(descriptor_stat(&kernel.stat_path(fd, checked(&path)?, follow(flags))?)))
    })?;
    types.define("[method]descriptor.metadata-hash-at", |call, (dir, flags, path): Named| {
        with(call, &dir, |kernel, fd| Ok(metadata_hash(&kernel.stat_path(fd, checked(&path)?, follow(flags))?)))
    })?;
    type Timed = (Resource<File>, PathFlags, String, NewTimestamp, NewTimestamp);
    types.define("[method]descriptor.set-times-at", |call, (dir, flags, path, atime, mtime): Timed| {
        with(call, &dir, |kernel, fd| {
            let change = time_change(kernel, atime, mtime)?;
            kernel.set_times_path(fd, checked(&path)?, follow(flags), change)
        })
    })?;
    types.define("[method]descriptor.readlink-at", |call, (dir, path): (Resource<File>, String)| {
        with(call, &dir, |kernel, fd| {
            let path = checked(&path)?;
            let target =
                kernel.change_names(fd, rights::PATH_READLINK, |fs, dir, _| Ok(fs.readlink(dir, path)?.to_vec()))?;
            String::from_utf8(target).map_err(|_| Errno::Ilseq)
        })
    })
}

/// Functions of one path that change names.
fn names(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Change = fn(&mut Fs, InodeId, &[u8], u64) -> Result<(), Errno>;
    let changes: [(&str, u64, Change); 3] = [
        ("[method]descriptor.create-directory-at", rights::PATH_CREATE_DIRECTORY, |fs, dir, path, now_ns| {
            fs.mkdir(dir, path, now_ns).map(drop)
        }),
        ("[method]descriptor.remove-directory-at", rights::PATH_REMOVE_DIRECTORY, |fs, dir, path, now_ns| {
            fs.rmdir(dir, path, now_ns)
        }),
        ("[method]descriptor.unlink-file-at", rights::PATH_UNLINK_FILE, |fs, dir, path, now_ns| {
            fs.unlink(dir, path, now_ns)
        }),
    ];
    for (name, right, change) in changes {
        types.define(name, move |call, (dir, path): (Resource<File>, String)| {
            with(call, &dir, |kernel, fd| {
                let path = checked(&path)?;
                kernel.change_names(fd, right, |fs, dir, now_ns| change(fs, dir, path, now_ns))
            })
        })?;
    }
    types.define("[method]descriptor.symlink-at", |call, (dir, target, path): (Resource<File>, String, String)| {
        with(call, &dir, |kernel, fd| {
            let (target, path) = (checked(&target)?, checked(&path)?);
            kernel.change_names(fd, rights::PATH_SYMLINK, |fs, dir, now_ns| fs.symlink(target, dir, path, now_ns))
        })
    })
}

/// Functions of two directories and a path in each.
fn between(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Renamed = (Resource<File>, String, Resource<File>, String);
    types.define("[method]descriptor.rename-at", |call, (dir, from, to_dir, to): Renamed| {
        let to_fd = call.resources.get(&to_dir)?.fd;
        with(call, &dir, |kernel, fd| {
            let (from, to) = (checked(&from)?, checked(&to)?);
            let to_dir = kernel.directory(to_fd, rights::PATH_RENAME_TARGET)?;
            let right = rights::PATH_RENAME_SOURCE;
            kernel.change_names(fd, right, |fs, dir, now_ns| fs.rename(dir, from, to_dir, to, now_ns))
        })
    })?;
    type Linked = (Resource<File>, PathFlags, String, Resource<File>, String);
    types.define("[method]descriptor.link-at", |call, (dir, flags, from, to_dir, to): Linked| {
        let to_fd = call.resources.get(&to_dir)?.fd;
        with(call, &dir, |kernel, fd| {
            let (from, to) = (checked(&from)?, checked(&to)?);
            let to_dir = kernel.directory(to_fd, rights::PATH_LINK_TARGET)?;
            let right = rights::PATH_LINK_SOURCE;
            kernel.change_names(fd, right, |fs, dir, now_ns| fs.link(dir, from, follow(flags), to_dir, to, now_ns))
        })
    })
}
