//! Functions of a directory and a path.

use refrain_kernel::files::OpenRequest;
use refrain_kernel::fs::{Follow, Fs, InodeId, MAX_PATH_BYTES, OpenFlags};
use refrain_kernel::{Errno, Kernel, rights};
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
pub(crate) fn checked(path: &str) -> Result<&[u8], Errno> {
    if path.len() > MAX_PATH_BYTES { Err(Errno::Nametoolong) } else { Ok(path.as_bytes()) }
}

pub(crate) fn follow(flags: PathFlags) -> Follow {
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
        with(call, &dir, |kernel, fd| readlink(kernel, fd, &path))
    })
}

/// A change of the name that a path ends with.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    /// The function of the interfaces.
    pub(crate) name: &'static str,
    right: u64,
    change: fn(&mut Fs, InodeId, &[u8], u64) -> Result<(), Errno>,
}

/// Functions of one path that change names.
pub(crate) const CHANGES: [Change; 3] = [
    Change {
        name: "[method]descriptor.create-directory-at",
        right: rights::PATH_CREATE_DIRECTORY,
        change: |fs, dir, path, now_ns| fs.mkdir(dir, path, now_ns).map(drop),
    },
    Change {
        name: "[method]descriptor.remove-directory-at",
        right: rights::PATH_REMOVE_DIRECTORY,
        change: |fs, dir, path, now_ns| fs.rmdir(dir, path, now_ns),
    },
    Change {
        name: "[method]descriptor.unlink-file-at",
        right: rights::PATH_UNLINK_FILE,
        change: |fs, dir, path, now_ns| fs.unlink(dir, path, now_ns),
    },
];

impl Change {
    pub(crate) fn make(self, kernel: &mut Kernel, fd: u32, path: &str) -> Result<(), Errno> {
        let path = checked(path)?;
        kernel.change_names(fd, self.right, |fs, dir, now_ns| (self.change)(fs, dir, path, now_ns))
    }
}

fn names(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    for change in CHANGES {
        types.define(change.name, move |call, (dir, path): (Resource<File>, String)| {
            with(call, &dir, |kernel, fd| change.make(kernel, fd, &path))
        })?;
    }
    types.define("[method]descriptor.symlink-at", |call, (dir, target, path): (Resource<File>, String, String)| {
        with(call, &dir, |kernel, fd| symlink(kernel, fd, &target, &path))
    })
}

pub(crate) fn symlink(kernel: &mut Kernel, fd: u32, target: &str, path: &str) -> Result<(), Errno> {
    let (target, path) = (checked(target)?, checked(path)?);
    kernel.change_names(fd, rights::PATH_SYMLINK, |fs, dir, now_ns| fs.symlink(target, dir, path, now_ns))
}

pub(crate) fn readlink(kernel: &mut Kernel, fd: u32, path: &str) -> Result<String, Errno> {
    let path = checked(path)?;
    let target = kernel.change_names(fd, rights::PATH_READLINK, |fs, dir, _| Ok(fs.readlink(dir, path)?.to_vec()))?;
    String::from_utf8(target).map_err(|_| Errno::Ilseq)
}

/// Functions of two directories and a path in each.
fn between(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Renamed = (Resource<File>, String, Resource<File>, String);
    types.define("[method]descriptor.rename-at", |call, (dir, from, to_dir, to): Renamed| {
        let to_fd = call.resources.get(&to_dir)?.fd;
        with(call, &dir, |kernel, fd| rename(kernel, (fd, &from), (to_fd, &to)))
    })?;
    type Linked = (Resource<File>, PathFlags, String, Resource<File>, String);
    types.define("[method]descriptor.link-at", |call, (dir, flags, from, to_dir, to): Linked| {
        let to_fd = call.resources.get(&to_dir)?.fd;
        with(call, &dir, |kernel, fd| link(kernel, (fd, &from, follow(flags)), (to_fd, &to)))
    })
}

/// Renames a path of a directory to one of another.
pub(crate) fn rename(kernel: &mut Kernel, from: (u32, &str), to: (u32, &str)) -> Result<(), Errno> {
    let (path, to_path) = (checked(from.1)?, checked(to.1)?);
    let to_dir = kernel.directory(to.0, rights::PATH_RENAME_TARGET)?;
    let right = rights::PATH_RENAME_SOURCE;
    kernel.change_names(from.0, right, |fs, dir, now_ns| fs.rename(dir, path, to_dir, to_path, now_ns))
}

/// Gives a path of a directory one more name in another.
pub(crate) fn link(kernel: &mut Kernel, from: (u32, &str, Follow), to: (u32, &str)) -> Result<(), Errno> {
    let (path, to_path) = (checked(from.1)?, checked(to.1)?);
    let to_dir = kernel.directory(to.0, rights::PATH_LINK_TARGET)?;
    let right = rights::PATH_LINK_SOURCE;
    kernel.change_names(from.0, right, |fs, dir, now_ns| fs.link(dir, path, from.2, to_dir, to_path, now_ns))
}
