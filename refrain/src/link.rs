//! A stream between nodes: frames in, and an outbox that plain calls fill and one task empties.
//!
//! Everything that is in the outbox when its task comes around goes out in one write. The outbox is bounded: one that
//! overflows ends its stream, and whoever needs it connects anew and says again what is still needed. Single-threaded:
//! both ends live on the loop thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use refrain_sequencer::net::BoxStream;
use refrain_sequencer::net::framed::{FrameError, FrameReader, write_queue};
use refrain_wire::DecodeError;
use refrain_wire::stream::{Frame, FrameQueue};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, ReadHalf};
use tokio::sync::Notify;

/// The most bytes that may wait in an outbox.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The other end sent what is no frame.
    #[error("the other end sent what cannot be read")]
    Frame(#[from] FrameError),
    /// The other end sent a frame that is no message.
    #[error("the other end sent a message that is none")]
    Message(#[from] DecodeError),
    /// The other end closed it.
    #[error("the other end closed the connection")]
    Closed,
    /// The other end does not read.
    #[error("{MAX_WAITING_BYTES} bytes wait for the other end, which does not read")]
    Full,
    /// This end has no more use for it.
    #[error("it is no longer needed")]
    Done,
}

/// Frames from the other end.
pub(crate) struct Inbox(pub(crate) FrameReader<ReadHalf<BoxStream>>);

impl Inbox {
    /// The next frame. Cancellation-safe: what was read stays.
    pub(crate) async fn next(&mut self) -> Result<Frame, LinkError> {
        self.0.next().await?.ok_or(LinkError::Closed)
    }
}

#[derive(Default)]
struct Waiting {
    frames: RefCell<FrameQueue>,
    filled: Notify,
    emptied: Notify,
    full: Cell<bool>,
    ended: Cell<bool>,
}

/// What waits to be written. Handles are cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Rc<Waiting>);

impl Outbox {
    /// Lets `write` add frames. What comes after the end, or after the outbox was full, is dropped.
    pub(crate) fn push(&self, write: impl FnOnce(&mut FrameQueue)) {
        if self.0.ended.get() || self.0.full.get() {
            return;
        }
        let mut frames = self.0.frames.borrow_mut();
        write(&mut frames);
        self.0.full.set(frames.len() > MAX_WAITING_BYTES);
        self.0.filled.notify_one();
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.0.frames.borrow().len()
    }

    /// Waits until at most `bytes` wait, or the stream is over.
    pub(crate) async fn drained(&self, bytes: usize) {
        while self.len() > bytes && !self.0.ended.get() {
            self.0.emptied.notified().await;
        }
    }

    /// Ends the stream once everything before is written.
    pub(crate) fn end(&self) {
        self.0.ended.set(true);
        self.0.filled.notify_one();
    }

    /// Whether the stream is over, or will be.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.ended.get()
    }

    /// Writes what is pushed until the end, or until the stream breaks.
    pub(crate) async fn write_to(&self, mut writer: impl AsyncWrite + Unpin) -> LinkError {
        let outcome = self.write_all(&mut writer).await;
        self.0.ended.set(true);
        self.0.emptied.notify_waiters();
        // The other end may be gone already.
        let _ = writer.shutdown().await;
        outcome.err().unwrap_or(LinkError::Done)
    }

    async fn write_all(&self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), LinkError> {
        loop {
            let mut frames = self.0.frames.take();
            if self.0.full.get() {
                return Err(LinkError::Full);
            }
            if frames.is_empty() {
                if self.0.ended.get() {
                    return Ok(());
                }
                self.0.filled.notified().await;
                continue;
            }
            write_queue(writer, &mut frames).await?;
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_wire::stream::put_frame;
    use tokio::io::AsyncReadExt as _;
    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tokio::task::LocalSet::new().run_until(test))
    }

    #[test]
    fn frames_pushed_by_plain_calls_go_out_in_order() {
        run(async {
            let (near, mut far) = tokio::io::duplex(64);
            let outbox = Outbox::default();
            let writer = outbox.clone();
            tokio::task::spawn_local(async move { writer.write_to(near).await });
            let mut expected = Vec::new();
            for kind in 2..12 {
                outbox.push(|frames| frames.frame(kind, &[kind; 100]));
                put_frame(&mut expected, kind, &[kind; 100]);
            }
            outbox.end();
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, expected);
        });
    }

    #[test]
    fn an_outbox_that_nobody_empties_ends_its_stream() {
        run(async {
            let (near, _far) = tokio::io::duplex(64);
            let outbox = Outbox::default();
            outbox.push(|frames| frames.unframed(|out| out.resize(MAX_WAITING_BYTES, 0)));
            assert!(!outbox.0.full.get(), "at the limit");
            outbox.push(|frames| frames.unframed(|out| out.push(0)));
            outbox.push(|_| panic!("nothing is taken after it was full"));
            assert!(matches!(outbox.write_to(near).await, LinkError::Full));
            assert!(outbox.has_ended());
        });
    }
}
