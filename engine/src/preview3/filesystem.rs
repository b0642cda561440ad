//! `wasi:filesystem`: descriptors of the kernel's files and directories. Nothing of it waits, as files are in memory.

mod content;
mod paths;

use refrain_kernel::descriptor::Object;
use refrain_kernel::fs::TimeChange;
use refrain_kernel::{Errno, Kernel, rights};
use wasmtime::component::Resource;

use super::wit::{DescriptorStat, DescriptorType, FileError, NewTimestamp};
use crate::preview2::filesystem::{descriptor_flags, metadata_hash};
use crate::preview2::links::{Call, Halt, Interface, Links};
use crate::preview2::resources::Node;
use crate::preview2::wit::DescriptorFlags;

type Own = (Resource<Node>,);

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut types = links.interface("wasi:filesystem/types")?;
    types.resource::<Node>("descriptor")?;
    attributes(&mut types)?;
    content::add_to(&mut types)?;
    paths::add_to(&mut types)?;
    links.interface("wasi:filesystem/preopens")?.define("get-directories", |call, (): ()| preopens(call))
}

/// The directories that the guest is given, by its names for them.
fn preopens(call: &mut Call<'_>) -> wasmtime::Result<Vec<(Resource<Node>, String)>> {
    let given = call.kernel.preopens().into_iter();
    given
        .map(|(fd, name)| {
            let mutates = !call.kernel.descriptor(fd).is_ok_and(|descriptor| descriptor.read_only);
            Ok((call.add(Node { fd, mutates })?, String::from_utf8_lossy(&name).into_owned()))
        })
        .collect()
}

fn attributes(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.concurrent("[method]descriptor.get-flags", |call, (node,): &mut Own, _| {
        let mutates = call.resources.get(node)?.mutates;
        with(call, node, |kernel, fd| {
            let flags = descriptor_flags(kernel, fd)?;
            let directory = DescriptorFlags::MUTATE_DIRECTORY;
            // Bits that only one of the two has.
            Ok(if flags & directory == directory && !mutates { flags ^ directory } else { flags })
        })
    })?;
    types.concurrent("[method]descriptor.get-type", |call, (node,): &mut Own, _| {
        with(call, node, |kernel, fd| {
            let stat = kernel.stat(fd)?;
            Ok(stat.map_or(DescriptorType::Other(None), |stat| stat.kind.into()))
        })
    })?;
    types.concurrent("[method]descriptor.stat", |call, (node,): &mut Own, _| {
        with(call, node, |kernel, fd| Ok(DescriptorStat::from(&kernel.stat(fd)?.ok_or(Errno::Badf)?)))
    })?;
    types.concurrent("[method]descriptor.metadata-hash", |call, (node,): &mut Own, _| {
        with(call, node, |kernel, fd| Ok(metadata_hash(&kernel.stat(fd)?.ok_or(Errno::Badf)?)))
    })?;
    type Two = (Resource<Node>, Resource<Node>);
    types.concurrent("[method]descriptor.is-same-object", |call, (one, other): &mut Two, _| {
        let inode =
            |call: &mut Call<'_>, node| with(call, node, |kernel, fd| Ok(kernel.stat(fd)?.map(|stat| stat.inode)));
        Ok(matches!((inode(call, one)?, inode(call, other)?), (Ok(Some(one)), Ok(Some(other))) if one == other))
    })?;
    type Timed = (Resource<Node>, NewTimestamp, NewTimestamp);
    types.concurrent("[method]descriptor.set-times", |call, (node, atime, mtime): &mut Timed, _| {
        with(call, node, |kernel, fd| {
            let change = time_change(kernel, *atime, *mtime)?;
            kernel.set_times(fd, change)
        })
    })?;
    for (name, right) in
        [("[method]descriptor.sync", rights::FD_SYNC), ("[method]descriptor.sync-data", rights::FD_DATASYNC)]
    {
        types.concurrent(name, move |call, (node,): &mut Own, _| {
            with(call, node, |kernel, fd| kernel.sync(fd, right))
        })?;
    }
    Ok(())
}

/// Runs a call of the kernel on a descriptor.
fn with<T>(
    call: &mut Call<'_>,
    node: &Resource<Node>,
    run: impl FnOnce(&mut Kernel, u32) -> Result<T, Errno>,
) -> Result<Result<T, FileError>, Halt> {
    let fd = call.resources.get(node)?.fd;
    Ok(run(call.kernel, fd).map_err(FileError::from))
}

/// The descriptor of a file that was opened for this, as systems say what is wrong with another.
fn opened(kernel: &Kernel, fd: u32, needed: u64) -> Result<u32, Errno> {
    let descriptor = kernel.descriptor(fd)?;
    match descriptor.object {
        Object::Directory { .. } => Err(Errno::Isdir),
        _ if descriptor.check(needed).is_err() => Err(Errno::Badf),
        _ => Ok(fd),
    }
}

fn time_change(kernel: &Kernel, atime: NewTimestamp, mtime: NewTimestamp) -> Result<TimeChange, Errno> {
    let choose = |new| match new {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(kernel.now_ns())),
        NewTimestamp::Timestamp(at) => at.to_ns().map(Some).ok_or(Errno::Overflow),
    };
    Ok(TimeChange { atime_ns: choose(atime)?, mtime_ns: choose(mtime)? })
}
