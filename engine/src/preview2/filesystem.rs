//! `wasi:filesystem`: descriptors of the kernel's files and directories.

mod content;
mod directory;
pub(crate) mod paths;

use refrain_kernel::descriptor::{Object, flags};
use refrain_kernel::fs::{FileKind, FileStat, TimeChange};
use refrain_kernel::{Errno, Kernel, rights};
use wasmtime::component::Resource;

use super::links::{Call, Interface, Links};
use super::resources::{Entries, File, IoError};
use super::wit::{Datetime, DescriptorFlags, DescriptorStat, DescriptorType, FileError, MetadataHash, NewTimestamp};

type FileResult<T> = Result<T, FileError>;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut types = links.interface("wasi:filesystem/types")?;
    types.resource::<File>("descriptor")?;
    types.resource::<Entries>("directory-entry-stream")?;
    types.define("filesystem-error-code", |call, (error,): (Resource<IoError>,)| {
        let error = call.resources.get(&error)?;
        Ok(error.is_file.then(|| FileError::from(error.errno)))
    })?;
    attributes(&mut types)?;
    content::add_to(&mut types)?;
    directory::add_to(&mut types)?;
    paths::add_to(&mut types)?;
    links.interface("wasi:filesystem/preopens")?.define("get-directories", |call, (): ()| preopens(call))
}

/// The directories that the guest is given, by its names for them.
fn preopens(call: &mut Call<'_>) -> wasmtime::Result<Vec<(Resource<File>, String)>> {
    call.kernel
        .preopens()
        .into_iter()
        .map(|(fd, name)| Ok((call.add(File { fd })?, String::from_utf8_lossy(&name).into_owned())))
        .collect()
}

fn attributes(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Own = (Resource<File>,);
    types.define("[method]descriptor.get-flags", |call, (file,): Own| {
        with(call, &file, |kernel, fd| descriptor_flags(kernel, fd))
    })?;
    types.define("[method]descriptor.get-type", |call, (file,): Own| {
        with(call, &file, |kernel, fd| Ok(kernel.stat(fd)?.map_or(DescriptorType::Unknown, |stat| kind(stat.kind))))
    })?;
    types.define("[method]descriptor.stat", |call, (file,): Own| {
        with(call, &file, |kernel, fd| Ok(descriptor_stat(&kernel.stat(fd)?.ok_or(Errno::Badf)?)))
    })?;
    types.define("[method]descriptor.metadata-hash", |call, (file,): Own| {
        with(call, &file, |kernel, fd| Ok(metadata_hash(&kernel.stat(fd)?.ok_or(Errno::Badf)?)))
    })?;
    types.define("[method]descriptor.is-same-object", |call, (one, other): (Resource<File>, Resource<File>)| {
        let inode =
            |call: &mut Call<'_>, file| with(call, file, |kernel, fd| Ok(kernel.stat(fd)?.map(|stat| stat.inode)));
        Ok(matches!((inode(call, &one)?, inode(call, &other)?), (Ok(Some(one)), Ok(Some(other))) if one == other))
    })?;
    types.define(
        "[method]descriptor.set-times",
        |call, (file, atime, mtime): (Resource<File>, NewTimestamp, NewTimestamp)| {
            with(call, &file, |kernel, fd| {
                let change = time_change(kernel, atime, mtime)?;
                kernel.set_times(fd, change)
            })
        },
    )?;
    for (name, right) in
        [("[method]descriptor.sync", rights::FD_SYNC), ("[method]descriptor.sync-data", rights::FD_DATASYNC)]
    {
        types.define(name, move |call, (file,): Own| with(call, &file, |kernel, fd| kernel.sync(fd, right)))?;
    }
    Ok(())
}

/// Runs a call of the kernel on a descriptor.
fn with<T>(
    call: &mut Call<'_>,
    file: &Resource<File>,
    run: impl FnOnce(&mut Kernel, u32) -> Result<T, Errno>,
) -> wasmtime::Result<FileResult<T>> {
    let fd = call.resources.get(file)?.fd;
    Ok(run(call.kernel, fd).map_err(FileError::from))
}

pub(crate) fn descriptor_flags(kernel: &Kernel, fd: u32) -> Result<DescriptorFlags, Errno> {
    let descriptor = kernel.descriptor(fd)?;
    let is_directory = matches!(descriptor.object, Object::Directory { .. });
    let mut told = DescriptorFlags::default();
    if is_directory || descriptor.rights & rights::FD_READ != 0 {
        told |= DescriptorFlags::READ;
    }
    if descriptor.rights & rights::FD_WRITE != 0 {
        told |= DescriptorFlags::WRITE;
    }
    if is_directory && !descriptor.read_only {
        told |= DescriptorFlags::MUTATE_DIRECTORY;
    }
    for (bit, flag) in SYNC_FLAGS {
        if descriptor.flags & bit != 0 {
            told |= flag;
        }
    }
    Ok(told)
}

/// Flags of the kernel's descriptors that say when something is durable.
pub(crate) const SYNC_FLAGS: [(u16, DescriptorFlags); 3] = [
    (flags::SYNC, DescriptorFlags::FILE_INTEGRITY_SYNC),
    (flags::DSYNC, DescriptorFlags::DATA_INTEGRITY_SYNC),
    (flags::RSYNC, DescriptorFlags::REQUESTED_WRITE_SYNC),
];

fn kind(kind: FileKind) -> DescriptorType {
    match kind {
        FileKind::Directory => DescriptorType::Directory,
        FileKind::File => DescriptorType::RegularFile,
        FileKind::Symlink => DescriptorType::SymbolicLink,
    }
}

fn descriptor_stat(stat: &FileStat) -> DescriptorStat {
    let at = |ns| Some(Datetime::from_ns(ns));
    DescriptorStat {
        kind: kind(stat.kind),
        link_count: u64::from(stat.links),
        size: stat.size_bytes,
        data_access_timestamp: at(stat.atime_ns),
        data_modification_timestamp: at(stat.mtime_ns),
        status_change_timestamp: at(stat.ctime_ns),
    }
}

/// Inodes are numbered alike on every replica: there is nothing to hide.
pub(crate) fn metadata_hash(stat: &FileStat) -> MetadataHash {
    MetadataHash { lower: stat.inode.0, upper: 0 }
}

fn time_change(kernel: &Kernel, atime: NewTimestamp, mtime: NewTimestamp) -> Result<TimeChange, Errno> {
    let choose = |new| match new {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(kernel.now_ns())),
        NewTimestamp::Timestamp(at) => at.to_ns().map(Some).ok_or(Errno::Overflow),
    };
    Ok(TimeChange { atime_ns: choose(atime)?, mtime_ns: choose(mtime)? })
}
