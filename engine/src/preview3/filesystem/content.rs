//! What is in files and directories, as streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use refrain_kernel::descriptor::Object;
use refrain_kernel::{Errno, rights};
use wasmtime::component::{Destination, FutureReader, Resource, StreamProducer, StreamReader, StreamResult, VecBuffer};
use wasmtime::{AsContextMut, StoreContextMut};

use super::{opened, with};
use crate::host::Host;
use crate::preview2::links::{Call, Halt, Interface, call};
use crate::preview2::resources::Node;
use crate::preview2::wit::Advice;
use crate::preview3::streams::{End, Keeper, failed, read, unread, unwritten, write};
use crate::preview3::waits::{Wait, attempt};
use crate::preview3::wit::{DirectoryEntry, FileError};

/// The most entries of one read of a directory.
const MAX_ENTRIES: usize = 256;
/// What finding an entry costs, in the kernel's units of work.
const ENTRY_WORK: u64 = 64;

pub(super) fn add_to(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.piping("[method]descriptor.read-via-stream", |store, (node, offset): (Resource<Node>, u64)| match found(
        store,
        &node,
        rights::FD_READ,
    )? {
        Ok(fd) => read::<FileError>(store, End::File(fd, Some(offset))),
        Err(errno) => unread(store, errno.into()),
    })?;
    type Written = (Resource<Node>, StreamReader<u8>, u64);
    types.piping("[method]descriptor.write-via-stream", |store, (node, data, offset): Written| {
        written(store, &node, data, Some(offset))
    })?;
    types
        .piping("[method]descriptor.append-via-stream", |store, (node, data): (Resource<Node>, StreamReader<u8>)| {
            written(store, &node, data, None)
        })?;
    types.piping("[method]descriptor.read-directory", |store, (node,): (Resource<Node>,)| entries(store, &node))?;
    types.concurrent("[method]descriptor.set-size", |call, (node, size): &mut (Resource<Node>, u64), _| {
        with(call, node, |kernel, fd| kernel.set_size(opened(kernel, fd, rights::FD_WRITE)?, *size))
    })?;
    type Advised = (Resource<Node>, u64, u64, Advice);
    types.concurrent("[method]descriptor.advise", |call, (node, offset, len, _): &mut Advised, _| {
        with(call, node, |kernel, fd| match kernel.descriptor(fd)?.object {
            Object::Directory { .. } => Err(Errno::Badf),
            _ => kernel.advise(fd, *offset, *len),
        })
    })
}

fn found(
    store: &mut StoreContextMut<'_, Host>,
    node: &Resource<Node>,
    needed: u64,
) -> wasmtime::Result<Result<u32, Errno>> {
    call(store, |call| {
        let fd = call.resources.get(node)?.fd;
        Ok(opened(call.kernel, fd, needed))
    })
}

fn written(
    store: &mut StoreContextMut<'_, Host>,
    node: &Resource<Node>,
    data: StreamReader<u8>,
    offset: Option<u64>,
) -> wasmtime::Result<FutureReader<Result<(), FileError>>> {
    match found(store, node, rights::FD_WRITE)? {
        Ok(fd) => write(store, data, End::File(fd, offset)),
        Err(errno) => unwritten(store, data, errno.into()),
    }
}

type Entries = (StreamReader<DirectoryEntry>, FutureReader<Result<(), FileError>>);

fn entries(store: &mut StoreContextMut<'_, Host>, node: &Resource<Node>) -> wasmtime::Result<Entries> {
    let directory = call(store, |call| {
        let fd = call.resources.get(node)?.fd;
        Ok::<_, wasmtime::Error>(call.kernel.directory(fd, rights::FD_READDIR).map(|_| fd))
    })?;
    let fd = match directory {
        Ok(fd) => fd,
        Err(errno) => {
            let told = failed(store, errno.into())?;
            return Ok((StreamReader::new(&mut *store, std::iter::empty())?, told));
        }
    };
    let keeper = Keeper::new(store, fd, None)?;
    let told = FutureReader::new(&mut *store, keeper.verdict())?;
    let listing = Listing { keeper, fd, cookie: 0, wait: Wait::default() };
    Ok((StreamReader::new(&mut *store, listing)?, told))
}

/// What is in a directory, name by name.
struct Listing {
    keeper: Keeper<FileError>,
    fd: u32,
    /// Where it goes on.
    cookie: u64,
    wait: Wait,
}

impl Listing {
    fn next(&mut self, call: &mut Call<'_>, most: usize) -> Result<Vec<DirectoryEntry>, Errno> {
        call.kernel.add_work(ENTRY_WORK);
        let listed = match call.kernel.read_directory(self.fd, self.cookie) {
            Ok(listed) => listed,
            // A directory that was removed has nothing in it any more.
            Err(Errno::Noent) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        };
        let named = listed.filter(|entry| entry.name != b"." && entry.name != b"..").take(most);
        let entries: Vec<DirectoryEntry> = named
            .map(|entry| {
                self.cookie = entry.next_cookie;
                let name = String::from_utf8_lossy(entry.name).into_owned();
                DirectoryEntry { kind: entry.kind.into(), name }
            })
            .collect();
        call.kernel.add_work(ENTRY_WORK * entries.len() as u64);
        Ok(entries)
    }
}

impl StreamProducer<Host> for Listing {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, Host>,
        mut destination: Destination<'a, DirectoryEntry, VecBuffer<DirectoryEntry>>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let room = destination.remaining(store.as_context_mut());
        if room == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let most = room.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
        let mut wait = std::mem::take(&mut self.wait);
        let listed = attempt(&mut store, &mut wait, context, |call, _| Ok::<_, Halt>(self.next(call, most)));
        listed.map_ok(|listed| match listed {
            Ok(entries) if entries.is_empty() => {
                self.keeper.tell(Ok(()));
                StreamResult::Dropped
            }
            Ok(entries) => {
                destination.set_buffer(entries.into());
                StreamResult::Completed
            }
            Err(errno) => {
                self.keeper.tell(Err(errno.into()));
                StreamResult::Dropped
            }
        })
    }
}
