//! Functions of a directory and a path.

use refrain_kernel::files::OpenRequest;
use refrain_kernel::fs::OpenFlags;
use refrain_kernel::rights;
use wasmtime::component::Resource;

use super::{time_change, with};
use crate::preview2::filesystem::paths::{CHANGES, checked, follow, link, readlink, rename, symlink};
use crate::preview2::filesystem::{SYNC_FLAGS, metadata_hash};
use crate::preview2::links::Interface;
use crate::preview2::resources::Node;
use crate::preview2::wit::{DescriptorFlags, OpenAtFlags, PathFlags};
use crate::preview3::wit::{DescriptorStat, FileError, NewTimestamp};

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    open(types)?;
    attributes(types)?;
    names(types)?;
    between(types)
}

/// What may be done with the contents of a file: one that is opened for nothing can be read, one that is made can be
/// written too.
fn contents(asked: DescriptorFlags, creates: bool) -> u64 {
    let has = |flag| asked & flag == flag;
    let (reads, writes) = (has(DescriptorFlags::READ), has(DescriptorFlags::WRITE));
    let read = if reads || !writes { rights::FD_READ } else { 0 };
    let write = if writes || creates { rights::FD_WRITE } else { 0 };
    read | write
}

fn open(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Asked = (Resource<Node>, PathFlags, String, OpenAtFlags, DescriptorFlags);
    types.concurrent("[method]descriptor.open-at", |call, (dir, path_flags, path, how, asked): &mut Asked, _| {
        let wants = |flag| *how & flag == flag;
        let create = wants(OpenAtFlags::CREATE);
        let mutates = *asked & DescriptorFlags::MUTATE_DIRECTORY == DescriptorFlags::MUTATE_DIRECTORY;
        let synced = SYNC_FLAGS.iter().filter(|(_, flag)| *asked & *flag == *flag).fold(0, |all, (bit, _)| all | bit);
        let opened = with(call, dir, |kernel, fd| {
            kernel.open_path(&OpenRequest {
                dir: fd,
                path: checked(path)?,
                follow: follow(*path_flags),
                flags: OpenFlags {
                    create,
                    directory: wants(OpenAtFlags::DIRECTORY),
                    // It says nothing of what need not be made.
                    exclusive: create && wants(OpenAtFlags::EXCLUSIVE),
                    truncate: wants(OpenAtFlags::TRUNCATE),
                },
                fd_flags: synced,
                rights: contents(*asked, create),
            })
        })?;
        match opened {
            Ok(fd) => Ok(Ok(call.add(Node { fd, mutates })?)),
            Err(error) => Ok(Err::<Resource<Node>, FileError>(error)),
        }
    })
}

fn attributes(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Named = (Resource<Node>, PathFlags, String);
    types.concurrent("[method]descriptor.stat-at", |call, (dir, flags, path): &mut Named, _| {
        with(call, dir, |kernel, fd| Ok(DescriptorStat::from(&kernel.stat_path(fd, checked(path)?, follow(*flags))?)))
    })?;
    types.concurrent("[method]descriptor.metadata-hash-at", |call, (dir, flags, path): &mut Named, _| {
        with(call, dir, |kernel, fd| Ok(metadata_hash(&kernel.stat_path(fd, checked(path)?, follow(*flags))?)))
    })?;
    type Timed = (Resource<Node>, PathFlags, String, NewTimestamp, NewTimestamp);
    types.concurrent("[method]descriptor.set-times-at", |call, (dir, flags, path, atime, mtime): &mut Timed, _| {
        with(call, dir, |kernel, fd| {
            let change = time_change(kernel, *atime, *mtime)?;
            kernel.set_times_path(fd, checked(path)?, follow(*flags), change)
        })
    })?;
    types.concurrent("[method]descriptor.readlink-at", |call, (dir, path): &mut (Resource<Node>, String), _| {
        with(call, dir, |kernel, fd| readlink(kernel, fd, path))
    })
}

fn names(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    for change in CHANGES {
        types.concurrent(change.name, move |call, (dir, path): &mut (Resource<Node>, String), _| {
            with(call, dir, |kernel, fd| change.make(kernel, fd, path))
        })?;
    }
    type Linked = (Resource<Node>, String, String);
    types.concurrent("[method]descriptor.symlink-at", |call, (dir, target, path): &mut Linked, _| {
        with(call, dir, |kernel, fd| symlink(kernel, fd, target, path))
    })
}

/// Functions of two directories and a path in each.
fn between(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Renamed = (Resource<Node>, String, Resource<Node>, String);
    types.concurrent("[method]descriptor.rename-at", |call, (dir, from, to_dir, to): &mut Renamed, _| {
        let to_fd = call.resources.get(to_dir)?.fd;
        with(call, dir, |kernel, fd| rename(kernel, (fd, from), (to_fd, to)))
    })?;
    type Linked = (Resource<Node>, PathFlags, String, Resource<Node>, String);
    types.concurrent("[method]descriptor.link-at", |call, (dir, flags, from, to_dir, to): &mut Linked, _| {
        let to_fd = call.resources.get(to_dir)?.fd;
        with(call, dir, |kernel, fd| link(kernel, (fd, from, follow(*flags)), (to_fd, to)))
    })
}
