//! The writing end of a body: pieces of any size, then trailers.
//!
//! A piece is taken when it has gone to whoever reads the body, which waits until the host has room. So what is written
//! and not read is one piece.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use crate::Failure;
use crate::body::{BodyError, Frame};

/// The room between writer and reader: one frame.
type Slot = Rc<RefCell<Option<Frame>>>;
/// What the function that writes does.
type Writing = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// Writes a body, as [`Body::written`](crate::Body::written) hands it out.
#[derive(Debug)]
pub struct Writer {
    slot: Slot,
}

impl Writer {
    /// Writes a piece, and returns when the reader has taken the one before.
    pub async fn write(&mut self, piece: impl Into<Bytes>) {
        let piece = piece.into();
        if !piece.is_empty() {
            self.put(Frame::Piece(piece)).await;
        }
    }

    /// Ends the body with trailers.
    pub async fn finish(self, trailers: HeaderMap) {
        self.put(Frame::Trailers(trailers)).await;
    }

    async fn put(&self, frame: Frame) {
        // No waker is kept: the reader polls the writer whenever it wants a frame.
        poll_fn(|_| if self.slot.borrow().is_none() { Poll::Ready(()) } else { Poll::Pending }).await;
        *self.slot.borrow_mut() = Some(frame);
    }
}

/// The reading end, which drives the writer.
pub(crate) struct Written {
    slot: Slot,
    writing: Option<Writing>,
    /// Comes after what was written before it.
    failure: Option<Failure>,
}

impl Written {
    pub(crate) fn new<F, W>(write: F) -> Self
    where
        F: FnOnce(Writer) -> W,
        W: Future<Output = Result<(), Failure>> + 'static,
    {
        let slot = Slot::default();
        let writing = write(Writer { slot: Rc::clone(&slot) });
        Self { slot, writing: Some(Box::pin(writing)), failure: None }
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, BodyError> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame>, BodyError>> {
        if self.slot.borrow().is_none()
            && let Some(writing) = &mut self.writing
            && let Poll::Ready(result) = writing.as_mut().poll(context)
        {
            self.writing = None;
            self.failure = result.err();
        }
        if let Some(frame) = self.slot.take() {
            return Poll::Ready(Ok(Some(frame)));
        }
        match (&self.writing, self.failure.take()) {
            (_, Some(failure)) => Poll::Ready(Err(BodyError::Writer(failure))),
            (Some(_), None) => Poll::Pending,
            (None, None) => Poll::Ready(Ok(None)),
        }
    }
}
