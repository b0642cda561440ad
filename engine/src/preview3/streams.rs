//! Streams of bytes between the guest and a descriptor, and what is done when one ends.
//!
//! A stream is read and written once wasmtime asks for it, as much at a time as there is and the other side takes. It
//! keeps its descriptor open, whatever becomes of the socket or file that it is of. When the guest or the host
//! drops it, wasmtime gives it no access to the store; so it leaves word in [`Endings`], which the next call and the
//! event loop read before anything else goes on.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use refrain_kernel::Errno;
use refrain_kernel::poll::Interest;
use refrain_kernel::socket::Shutdown;
use wasmtime::component::{
    ComponentType, Destination, FutureReader, Lift, Lower, Source, StreamConsumer, StreamProducer, StreamReader,
    StreamResult, VecBuffer,
};
use wasmtime::{AsContextMut, StoreContextMut};

use super::verdict::Verdict;
use super::waits::{Wait, attempt, until_ready};
use crate::host::Host;
use crate::preview2::links::{Call, Halt, call, settled};
use crate::preview2::resources::Held;

/// The most bytes of one read or write.
const MAX_BYTES: usize = 64 << 10;

/// Word of streams that have ended.
#[derive(Clone, Default)]
pub(crate) struct Endings(Arc<Mutex<Vec<Ending>>>);

type Ending = Box<dyn FnOnce(&mut Call<'_>) + Send>;

impl Endings {
    fn leave(&self, ending: impl FnOnce(&mut Call<'_>) + Send + 'static) {
        self.0.lock().push(Box::new(ending));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Does what is to be done, in order.
    pub(crate) fn settle(&self, call: &mut Call<'_>) {
        let ended = std::mem::take(&mut *self.0.lock());
        ended.into_iter().for_each(|ending| ending(call));
    }
}

/// What the errors of an interface are made of.
pub(crate) trait Code: From<Errno> + ComponentType + Lower + Lift + Send + Sync + 'static {}

impl<E: From<Errno> + ComponentType + Lower + Lift + Send + Sync + 'static> Code for E {}

/// What a stream's bytes come from or go to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// One of the standard streams.
    Standard(u32),
    /// A connection. Its half is shut down with the stream.
    Connection(u32),
    /// A file, from an offset; writes without one go to its end.
    File(u32, Option<u64>),
}

impl End {
    fn fd(self) -> u32 {
        let (Self::Standard(fd) | Self::Connection(fd) | Self::File(fd, _)) = self;
        fd
    }

    /// The next bytes; none at the end.
    fn read(&mut self, call: &mut Call<'_>, most: usize) -> Result<Result<Vec<u8>, Errno>, Halt> {
        let (there, at) = match *self {
            Self::Standard(fd) | Self::Connection(fd) => (call.kernel.readable_bytes(fd).max(1), None),
            Self::File(fd, offset) => {
                let offset = offset.unwrap_or(0);
                let size = call.kernel.stat(fd).ok().flatten().map_or(0, |stat| stat.size_bytes);
                (size.saturating_sub(offset), Some(offset))
            }
        };
        let mut bytes = vec![0; most.min(usize::try_from(there).unwrap_or(usize::MAX))];
        let fd = self.fd();
        let read = match at {
            None => settled(call.kernel.read(fd, &mut bytes))?,
            Some(offset) => call.kernel.read_at(fd, offset, &mut bytes),
        };
        if let (Self::File(_, offset), Ok(read)) = (self, read) {
            *offset = at.map(|at| at + read as u64);
        }
        Ok(read.map(|read| {
            bytes.truncate(read);
            bytes
        }))
    }

    /// Writes what is taken; how much.
    fn write(&mut self, call: &mut Call<'_>, bytes: &[u8]) -> Result<Result<usize, Errno>, Halt> {
        match self {
            Self::Standard(fd) | Self::Connection(fd) => settled(call.kernel.write(*fd, bytes)),
            Self::File(fd, offset) => {
                let size = || call.kernel.stat(*fd).map(|stat| stat.map_or(0, |stat| stat.size_bytes));
                let at = offset.map_or_else(size, Ok);
                let written = at.and_then(|at| call.kernel.write_at(*fd, at, bytes));
                if let (Some(offset), Ok(written)) = (offset, written) {
                    *offset += written as u64;
                }
                Ok(written)
            }
        }
    }
}

/// What keeps a descriptor open for a stream, and tells how it ended.
pub(crate) struct Keeper<E: Code> {
    fd: u32,
    /// Its entry in the table of resources.
    held: u32,
    verdict: Verdict<E>,
    endings: Endings,
    /// What of a connection is shut down with the stream.
    half: Option<Shutdown>,
}

impl<E: Code> Keeper<E> {
    pub(crate) fn new(
        store: &mut StoreContextMut<'_, Host>,
        fd: u32,
        half: Option<Shutdown>,
    ) -> wasmtime::Result<Self> {
        let held = call(store, |call| call.add(Held { fd }))?.rep();
        let endings = store.data().endings.clone();
        Ok(Self { fd, held, verdict: Verdict::open(), endings, half })
    }

    /// The future that says how it ended.
    pub(crate) fn verdict(&self) -> Verdict<E> {
        self.verdict.clone()
    }

    pub(crate) fn tell(&self, came: Result<(), E>) {
        self.verdict.tell(came);
    }
}

impl<E: Code> Drop for Keeper<E> {
    fn drop(&mut self) {
        let (fd, held, half, verdict) = (self.fd, self.held, self.half, self.verdict.clone());
        self.endings.leave(move |call| {
            if let Some(half) = half {
                // What is shut or gone already is as it should be.
                let _ = call.kernel.shutdown(fd, half);
            }
            verdict.tell(Ok(()));
            call.resources.drop(call.kernel, held).expect("a stream drops its own entry, once");
        });
    }
}

/// What both kinds of streams of bytes have.
struct Open<E: Code> {
    end: End,
    keeper: Keeper<E>,
    wait: Wait,
}

impl<E: Code> Open<E> {
    fn new(store: &mut StoreContextMut<'_, Host>, end: End, half: Shutdown) -> wasmtime::Result<Self> {
        let half = matches!(end, End::Connection(_)).then_some(half);
        Ok(Self { end, keeper: Keeper::new(store, end.fd(), half)?, wait: Wait::default() })
    }

    /// A read or a write of no bytes: it is done once one of some bytes would not wait. Files never let anybody wait.
    fn ready(
        &mut self,
        store: &mut StoreContextMut<'_, Host>,
        context: &Context<'_>,
        interest: fn(u32) -> Interest,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let end = self.end;
        let ready = attempt(store, &mut self.wait, context, |call, first| match end {
            End::File(..) => Ok(()),
            End::Standard(fd) | End::Connection(fd) => until_ready(call, interest(fd), first),
        });
        // What counts as one byte is neither an end nor an error.
        self.result(ready.map_ok(|()| Ok(1)), finish)
    }

    /// Tells the guest's task what came of its call, where it need not wait for it.
    fn result(
        &mut self,
        polled: Poll<wasmtime::Result<Result<usize, Errno>>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        Poll::Ready(match polled {
            Poll::Pending if finish => {
                self.wait = Wait::default();
                Ok(StreamResult::Cancelled)
            }
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(Ok(0))) => {
                self.keeper.tell(Ok(()));
                Ok(StreamResult::Dropped)
            }
            Poll::Ready(Ok(Ok(_))) => Ok(StreamResult::Completed),
            Poll::Ready(Ok(Err(errno))) => {
                self.keeper.tell(Err(errno.into()));
                Ok(StreamResult::Dropped)
            }
        })
    }
}

/// What the guest reads.
struct Reading<E: Code>(Open<E>);

impl<E: Code> StreamProducer<Host> for Reading<E> {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, Host>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let room = destination.remaining(store.as_context_mut());
        if room == Some(0) {
            return self.0.ready(&mut store, context, Interest::Read, finish);
        }
        let most = room.unwrap_or(MAX_BYTES).min(MAX_BYTES);
        let Open { end, wait, .. } = &mut self.0;
        let read = attempt(&mut store, wait, context, |call, _| end.read(call, most));
        let read = read.map_ok(|read| {
            read.map(|bytes| {
                let mut to = destination.as_direct(store, bytes.len());
                to.write(&bytes).expect("it is written to memory")
            })
        });
        self.0.result(read, finish)
    }
}

/// What the guest writes.
struct Writing<E: Code>(Open<E>);

impl<E: Code> StreamConsumer<Host> for Writing<E> {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'_, Host>,
        mut source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let bytes = {
            let mut direct = source.reborrow().as_direct(store.as_context_mut());
            let bytes = direct.remaining();
            bytes[..bytes.len().min(MAX_BYTES)].to_vec()
        };
        if bytes.is_empty() {
            return self.0.ready(&mut store, context, Interest::Write, finish);
        }
        let Open { end, wait, .. } = &mut self.0;
        let written = attempt(&mut store, wait, context, |call, _| end.write(call, &bytes));
        if let Poll::Ready(Ok(Ok(written))) = written {
            source.as_direct(store).mark_read(written);
        }
        self.0.result(written, finish)
    }
}

/// A stream for the guest to read, with the future that says how it ended.
pub(crate) type Read<E> = (StreamReader<u8>, FutureReader<Result<(), E>>);

/// Has the guest read what comes from there.
pub(crate) fn read<E: Code>(store: &mut StoreContextMut<'_, Host>, end: End) -> wasmtime::Result<Read<E>> {
    let open = Open::new(store, end, Shutdown { read: true, write: false })?;
    let told = FutureReader::new(&mut *store, open.keeper.verdict())?;
    Ok((StreamReader::new(&mut *store, Reading(open))?, told))
}

/// Nothing for the guest to read, and why.
pub(crate) fn unread<E: Code>(store: &mut StoreContextMut<'_, Host>, error: E) -> wasmtime::Result<Read<E>> {
    let told = failed(store, error)?;
    Ok((StreamReader::new(&mut *store, std::iter::empty())?, told))
}

/// Has what the guest writes go there.
pub(crate) fn write<E: Code>(
    store: &mut StoreContextMut<'_, Host>,
    data: StreamReader<u8>,
    end: End,
) -> wasmtime::Result<FutureReader<Result<(), E>>> {
    let open = Open::new(store, end, Shutdown { read: false, write: true })?;
    let told = FutureReader::new(&mut *store, open.keeper.verdict())?;
    data.pipe(&mut *store, Writing(open))?;
    Ok(told)
}

/// Takes nothing of what the guest writes, and says why.
pub(crate) fn unwritten<E: Code>(
    store: &mut StoreContextMut<'_, Host>,
    mut data: StreamReader<u8>,
    error: E,
) -> wasmtime::Result<FutureReader<Result<(), E>>> {
    data.close(&mut *store)?;
    failed(store, error)
}

/// A future that says this.
pub(crate) fn failed<E: Code>(
    store: &mut StoreContextMut<'_, Host>,
    error: E,
) -> wasmtime::Result<FutureReader<Result<(), E>>> {
    FutureReader::new(&mut *store, Verdict::known(Err(error)))
}
