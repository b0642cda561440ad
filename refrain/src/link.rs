//! A stream between nodes: frames in, and an outbox that plain calls fill and one task empties.
//!
//! Everything that is in the outbox when its task comes around goes out in one write. The outbox is bounded: one that
//! overflows ends its stream, and whoever needs it connects anew and says again what is still needed. Single-threaded:
//! both ends live on the loop thread.
//!
//! A stream ends when the other end is silent for too long ([`pulse`]): each end that has nothing to say shows that it
//! lives.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use refrain_sequencer::net::BoxStream;
use refrain_sequencer::net::framed::{FrameError, FrameReader, Framed, write_queue};
use refrain_wire::DecodeError;
use refrain_wire::stream::{Frame, FrameQueue, KIND_ALIVE, is_alive};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;

use pulse::{Pulse, TICKS, Watched};

mod pulse;

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
    /// The other end says nothing, or takes nothing.
    #[error("the other end has been silent for {0:?}")]
    Silent(Duration),
    /// The other end does not read.
    #[error("{MAX_WAITING_BYTES} bytes wait for the other end, which does not read")]
    Full,
    /// This end has no more use for it.
    #[error("it is no longer needed")]
    Done,
}

/// The two directions of a stream that ends when the other end is silent for `patience`.
pub(crate) fn open(framed: Framed, patience: Duration) -> (Inbox, Writer) {
    let pulse = Rc::new(Pulse::new(patience));
    let (reader, half) = framed.split();
    let frames = reader.map(|half| Watched { half, pulse: Rc::clone(&pulse) });
    (Inbox { frames, pulse: Rc::clone(&pulse) }, Writer(Watched { half, pulse }))
}

/// Frames from the other end.
pub(crate) struct Inbox {
    frames: FrameReader<Watched<ReadHalf<BoxStream>>>,
    pulse: Rc<Pulse>,
}

impl Inbox {
    /// The next frame. Cancellation-safe: what was read stays.
    pub(crate) async fn next(&mut self) -> Result<Frame, LinkError> {
        loop {
            match self.frames.next().await {
                Ok(Some(frame)) if is_alive(&frame)? => {}
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => return Err(LinkError::Closed),
                Err(_) if self.pulse.is_over() => return Err(self.pulse.error()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next frame, if it has come already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>, LinkError> {
        loop {
            match self.frames.buffered()? {
                Some(frame) if is_alive(&frame)? => {}
                other => return Ok(other),
            }
        }
    }
}

/// Where an [`Outbox`] is written.
pub(crate) struct Writer(Watched<WriteHalf<BoxStream>>);

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

    /// Writes what is pushed until the end, or until the stream breaks or the other end is silent.
    pub(crate) async fn write_to(&self, writer: Writer) -> LinkError {
        let Writer(mut half) = writer;
        let pulse = Rc::clone(&half.pulse);
        let outcome = tokio::select! {
            biased;
            outcome = self.write_all(&mut half) => outcome,
            () = self.beat(&pulse) => Err(pulse.error()),
        };
        self.0.ended.set(true);
        self.0.emptied.notify_waiters();
        // The other end may be gone already.
        let _ = half.shutdown().await;
        outcome.err().unwrap_or(LinkError::Done)
    }

    async fn write_all(&self, half: &mut Watched<WriteHalf<BoxStream>>) -> Result<(), LinkError> {
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
            write_queue(half, &mut frames).await?;
            self.0.emptied.notify_waiters();
        }
    }

    /// Shows that this end lives while it has nothing to say; ends when the other end does not.
    async fn beat(&self, pulse: &Pulse) {
        loop {
            tokio::time::sleep(pulse.patience / TICKS).await;
            if pulse.tick() {
                return pulse.end();
            }
            if pulse.is_quiet() && self.len() == 0 {
                self.push(|frames| frames.frame(KIND_ALIVE, &[]));
            }
        }
    }
}

#[cfg(test)]
mod tests;
