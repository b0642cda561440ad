//! Whether the other end of a stream lives.
//!
//! Time is counted in ticks of this node's loop: a node that was stopped itself has counted none, and finds what came
//! meanwhile before it takes anybody for dead. What counts is bytes, not frames, so that a long frame on a slow network
//! is life. Where this end does not read because it is busy, silence says nothing; but when it waits to write, the
//! other end has to take something.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::LinkError;

/// Ticks within the patience.
pub(super) const TICKS: u32 = 6;

/// What moved on a stream since the last tick.
pub(super) struct Pulse {
    pub(super) patience: Duration,
    /// This end waits for something to read.
    reading: Cell<bool>,
    /// This end waits for room to write.
    writing: Cell<bool>,
    heard: Cell<bool>,
    wrote: Cell<bool>,
    /// Nothing was written between the last two ticks.
    quiet: Cell<bool>,
    silent: Cell<u32>,
    over: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

impl Pulse {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            reading: Cell::new(false),
            writing: Cell::new(false),
            heard: Cell::new(false),
            wrote: Cell::new(false),
            quiet: Cell::new(false),
            silent: Cell::new(0),
            over: Cell::new(false),
            reader: RefCell::new(None),
        }
    }

    /// A tick has passed; true when the other end was silent for too many.
    pub(super) fn tick(&self) -> bool {
        let (heard, wrote) = (self.heard.take(), self.wrote.take());
        self.quiet.set(!wrote && !self.writing.get());
        let silent = match (self.reading.get(), self.writing.get()) {
            (true, _) => !heard,
            (false, true) => !wrote && !heard,
            (false, false) => false,
        };
        self.silent.set(if silent { self.silent.get() + 1 } else { 0 });
        self.silent.get() >= TICKS
    }

    /// Whether nothing was written since the tick before the last one, and nothing waits.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.get()
    }

    /// Ends the stream for its reader as well.
    pub(super) fn end(&self) {
        self.over.set(true);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    pub(super) fn error(&self) -> LinkError {
        LinkError::Silent(self.patience)
    }
}

/// One direction of a stream, which notes what moves.
pub(super) struct Watched<T> {
    pub(super) half: T,
    pub(super) pulse: Rc<Pulse>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pulse.over.get() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let polled = Pin::new(&mut this.half).poll_read(context, buffer);
        this.pulse.reading.set(polled.is_pending());
        match polled {
            Poll::Ready(_) => this.pulse.heard.set(true),
            Poll::Pending => {
                let mut reader = this.pulse.reader.borrow_mut();
                match reader.as_mut() {
                    Some(known) => known.clone_from(context.waker()),
                    None => *reader = Some(context.waker().clone()),
                }
            }
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> Watched<T> {
    fn note<V>(&self, polled: Poll<io::Result<V>>) -> Poll<io::Result<V>> {
        self.pulse.writing.set(polled.is_pending());
        if polled.is_ready() {
            self.pulse.wrote.set(true);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.half).poll_write(context, bytes);
        this.note(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.half).poll_write_vectored(context, pieces);
        this.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.half.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().half).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().half).poll_shutdown(context)
    }
}
