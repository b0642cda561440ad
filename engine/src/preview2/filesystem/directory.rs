//! What is in a directory, name by name.

use refrain_kernel::{Errno, rights};
use wasmtime::component::Resource;

use super::{Interface, kind, with};
use crate::preview2::resources::{Entries, File};
use crate::preview2::wit::{DirectoryEntry, FileError};

/// What finding an entry costs, in the kernel's units of work.
const ENTRY_WORK: u64 = 64;

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.define("[method]descriptor.read-directory", |call, (file,): (Resource<File>,)| {
        let opened = with(call, &file, |kernel, fd| kernel.directory(fd, rights::FD_READDIR).map(|_| fd))?;
        match opened {
            Ok(fd) => Ok(Ok(call.add(Entries { fd, cookie: 0 })?)),
            Err(error) => Ok(Err(error)),
        }
    })?;
    types.define("[method]directory-entry-stream.read-directory-entry", |call, (entries,): (Resource<Entries>,)| {
        let entries = call.resources.get_mut(&entries)?;
        call.kernel.add_work(ENTRY_WORK);
        let listed = match call.kernel.read_directory(entries.fd, entries.cookie) {
            Ok(listed) => listed,
            // A directory that was removed has nothing in it any more.
            Err(Errno::Noent) => return Ok(Ok(None)),
            Err(errno) => return Ok(Err(FileError::from(errno))),
        };
        let next = listed.into_iter().find(|entry| entry.name != b"." && entry.name != b"..");
        Ok(Ok(next.map(|entry| {
            entries.cookie = entry.next_cookie;
            DirectoryEntry { kind: kind(entry.kind), name: String::from_utf8_lossy(entry.name).into_owned() }
        })))
    })
}
