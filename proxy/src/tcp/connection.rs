//! One connection, of a client or to a server that a guest called: its socket, what waits to be written, and how it is
//! to end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use refrain_wire::FlowId;

use crate::net::Stream;

/// How a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Until both sides are done.
    Open,
    /// Closed at once, with a TCP reset.
    Reset,
    /// What waits is written; what the client still sends is thrown away.
    Linger,
}

pub(super) struct Connection {
    pub(super) flow: FlowId,
    pub(super) stream: Box<dyn Stream>,
    /// What was read before the connection was a flow: the first of what it reads.
    unread: RefCell<Bytes>,
    queue: RefCell<VecDeque<Bytes>>,
    queued_bytes: Cell<usize>,
    /// Bytes of the header that the socket has not taken: they are none of the flow's.
    header_bytes: Cell<usize>,
    finish: Cell<bool>,
    write_closed: Cell<bool>,
    pub(super) read_closed: Cell<bool>,
    fate: Cell<Fate>,
    waker: RefCell<Option<Waker>>,
}

impl Connection {
    pub(super) fn new(flow: FlowId, stream: Box<dyn Stream>, unread: Bytes) -> Self {
        Self {
            flow,
            stream,
            unread: RefCell::new(unread),
            queue: RefCell::default(),
            queued_bytes: Cell::new(0),
            header_bytes: Cell::new(0),
            finish: Cell::new(false),
            write_closed: Cell::new(false),
            read_closed: Cell::new(false),
            fate: Cell::new(Fate::Open),
            waker: RefCell::new(None),
        }
    }

    pub(super) fn fate(&self) -> Fate {
        self.fate.get()
    }

    /// Both sides are done.
    pub(super) fn is_done(&self) -> bool {
        self.read_closed.get() && self.write_closed.get()
    }

    pub(super) fn write_is_closed(&self) -> bool {
        self.write_closed.get()
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes.get()
    }

    /// Ends it as said, as soon as its task runs. A reset is never taken back.
    pub(super) fn end(&self, fate: Fate) {
        if self.fate.get() != Fate::Reset {
            self.fate.set(fate);
        }
        if fate == Fate::Reset {
            self.queue.borrow_mut().clear();
            self.queued_bytes.set(0);
        }
        self.wake();
    }

    /// Its task is the one with this waker.
    pub(super) fn remember(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        match &mut *kept {
            Some(kept) => kept.clone_from(waker),
            None => *kept = Some(waker.clone()),
        }
    }

    /// Has its task look again.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Writes what goes before the flow's bytes and is not counted among them.
    pub(super) fn write_header(&self, header: Vec<u8>) -> io::Result<()> {
        self.header_bytes.set(header.len());
        self.write(header.into()).map(drop)
    }

    /// How many of the written bytes are the flow's.
    fn of_flow(&self, written: usize) -> usize {
        let header = self.header_bytes.get();
        self.header_bytes.set(header.saturating_sub(written));
        written.saturating_sub(header)
    }

    /// Reads as the stream does, after what was read before.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut unread = self.unread.borrow_mut();
        if unread.is_empty() {
            return self.stream.poll_read(cx, buffer);
        }
        let count = unread.len().min(buffer.len());
        unread.split_to(count).copy_to_slice(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }

    /// Writes what fits at once and queues the rest. Returns how much of the flow the socket took.
    pub(super) fn write(&self, mut bytes: Bytes) -> io::Result<usize> {
        let mut queue = self.queue.borrow_mut();
        let mut written = 0;
        if queue.is_empty() {
            written = take_would_block(self.stream.try_write(&bytes))?;
            bytes.advance(written);
        }
        if !bytes.is_empty() {
            self.queued_bytes.set(self.queued_bytes.get() + bytes.len());
            queue.push_back(bytes);
            self.wake();
        }
        Ok(self.of_flow(written))
    }

    /// Shuts the write side down once everything before is written.
    pub(super) fn finish(&self) {
        self.finish.set(true);
        self.shutdown_if_flushed();
        self.wake();
    }

    fn shutdown_if_flushed(&self) {
        if self.finish.get() && self.queue.borrow().is_empty() && !self.write_closed.replace(true) {
            // A failure means that the client is gone, which the next read or write tells.
            let _ = self.stream.shutdown_write();
        }
    }

    /// Writes from the queue until it is empty or the socket full. Returns how much of the flow the socket took.
    pub(super) fn flush(&self, cx: &mut Context<'_>) -> io::Result<usize> {
        let mut queue = self.queue.borrow_mut();
        let mut written = 0;
        while let Some(front) = queue.front_mut() {
            let Poll::Ready(ready) = self.stream.poll_writable(cx) else {
                break;
            };
            ready?;
            let taken = take_would_block(self.stream.try_write(front))?;
            front.advance(taken);
            written += taken;
            if front.is_empty() {
                queue.pop_front();
            }
        }
        drop(queue);
        self.queued_bytes.set(self.queued_bytes.get() - written);
        self.shutdown_if_flushed();
        Ok(self.of_flow(written))
    }
}

fn take_would_block(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        other => other,
    }
}
