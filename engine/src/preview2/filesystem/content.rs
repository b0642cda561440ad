//! What is in a file: reading, writing, streams, size.

use wasmtime::component::Resource;

use super::{File, Interface, with};
use crate::preview2::links::Call;
use crate::preview2::resources::{Input, Output};
use crate::preview2::wit::{Advice, FileError};
use refrain_kernel::{Errno, Kernel, rights};

/// The most bytes of one read: 16 MiB. More is a short one.
const MAX_READ_BYTES: u64 = 16 << 20;

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    streams(types)?;
    types.define("[method]descriptor.read", |call, (file, len, offset): (Resource<File>, u64, u64)| {
        with(call, &file, |kernel, fd| {
            let size = kernel.stat(fd)?.map_or(0, |stat| stat.size_bytes);
            let mut bytes = vec![0; len.min(MAX_READ_BYTES).min(size.saturating_sub(offset)) as usize];
            let read = kernel.read_at(fd, offset, &mut bytes)?;
            bytes.truncate(read);
            Ok((bytes, len > 0 && read == 0))
        })
    })?;
    types.define("[method]descriptor.write", |call, (file, bytes, offset): (Resource<File>, Vec<u8>, u64)| {
        with(call, &file, |kernel, fd| {
            let written = kernel.write_at(fd, offset, &bytes);
            written.map(|written| written as u64).map_err(|errno| not_for_this(kernel, fd, errno))
        })
    })?;
    types.define("[method]descriptor.set-size", |call, (file, size): (Resource<File>, u64)| {
        with(call, &file, |kernel, fd| kernel.set_size(fd, size))
    })?;
    types.define("[method]descriptor.advise", |call, (file, offset, len, _): (Resource<File>, u64, u64, Advice)| {
        with(call, &file, |kernel, fd| kernel.advise(fd, offset, len))
    })
}

fn streams(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.define("[method]descriptor.read-via-stream", |call, (file, offset): (Resource<File>, u64)| match opened(
        call,
        &file,
        rights::FD_READ,
    )? {
        Ok(fd) => Ok(Ok(call.add(Input::File { fd, offset })?)),
        Err(error) => Ok(Err(error)),
    })?;
    types.define("[method]descriptor.write-via-stream", |call, (file, offset): (Resource<File>, u64)| match opened(
        call,
        &file,
        rights::FD_WRITE,
    )? {
        Ok(fd) => Ok(Ok(call.add(Output::File { fd, offset: Some(offset) })?)),
        Err(error) => Ok(Err(error)),
    })?;
    types.define("[method]descriptor.append-via-stream", |call, (file,): (Resource<File>,)| {
        match opened(call, &file, rights::FD_WRITE)? {
            Ok(fd) => Ok(Ok(call.add(Output::File { fd, offset: None })?)),
            Err(error) => Ok(Err(error)),
        }
    })
}

/// The descriptor of a file that was opened for this.
fn opened(call: &mut Call<'_>, file: &Resource<File>, needed: u64) -> wasmtime::Result<Result<u32, FileError>> {
    use refrain_kernel::descriptor::Object;
    with(call, file, |kernel, fd| {
        let descriptor = kernel.descriptor(fd)?;
        match descriptor.object {
            Object::Directory { .. } => Err(Errno::Isdir),
            _ => descriptor.check(needed).map(|()| fd).map_err(|errno| not_for_this(kernel, fd, errno)),
        }
    })
}

/// What is told of a file that was not opened for something: not permitted, where its directory does not let it be.
fn not_for_this(kernel: &Kernel, fd: u32, errno: Errno) -> Errno {
    let is_kept = kernel.descriptor(fd).is_ok_and(|descriptor| descriptor.read_only);
    if errno == Errno::Badf && is_kept { Errno::Perm } else { errno }
}
