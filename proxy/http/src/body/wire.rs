//! A body that hyper reads from a socket, with a limit on its bytes and on its silence.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{BodyError, FaultCell};
use crate::edge;
use crate::upstream::GiveBack;

/// What a body from a socket may do.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Most bytes of data.
    pub(crate) bytes: u64,
    /// Longest wait for the next frame, from the moment that it is asked for.
    pub(crate) idle: Duration,
    /// Where the first breach is told.
    pub(crate) fault: Option<Arc<FaultCell>>,
}

pub(crate) struct WireBody {
    incoming: Incoming,
    bounds: Bounds,
    left: u64,
    /// Made at the first wait, and moved on lazily: a frame that comes in time costs no timer.
    sleep: Option<Pin<Box<Sleep>>>,
    waits_since: Option<Instant>,
    is_over: bool,
    /// The connection that an answer comes from.
    give_back: Option<GiveBack>,
}

impl WireBody {
    pub(crate) fn new(incoming: Incoming, bounds: Bounds, give_back: Option<GiveBack>) -> Self {
        Self { incoming, left: bounds.bytes, bounds, sleep: None, waits_since: None, is_over: false, give_back }
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.is_over = true;
        self.give_back = None;
        if let Some(cell) = &self.bounds.fault {
            cell.note(&error);
        }
        error
    }

    /// Ready when the sender has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let deadline = since + self.bounds.idle;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            // It was set for an earlier wait.
            sleep.as_mut().reset(deadline);
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return Err(BodyError::TooLarge { limit: self.bounds.bytes }),
        }
        Ok(())
    }
}

fn data_bytes<E>(frame: Option<&Result<Frame<Bytes>, E>>) -> u64 {
    let data = frame.and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
    data.map_or(0, |data| data.len() as u64)
}

impl HttpBody for WireBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.poll_silence(cx));
            let limit = self.bounds.idle;
            return Poll::Ready(Some(Err(self.fail(BodyError::Idle { limit }))));
        };
        self.waits_since = None;
        if let Some(cell) = &self.bounds.fault {
            cell.moved(data_bytes(frame.as_ref()));
        }
        let is_last = frame.is_none() || (matches!(frame, Some(Ok(_))) && self.incoming.is_end_stream());
        if let Some(connection) = self.give_back.take_if(|_| is_last) {
            connection.now();
        }
        Poll::Ready(match frame {
            Some(Ok(mut frame)) => match self.count(&frame) {
                Ok(()) => {
                    if let Some(trailers) = frame.trailers_mut() {
                        edge::clean_trailers(trailers);
                    }
                    Some(Ok(frame))
                }
                Err(error) => Some(Err(self.fail(error))),
            },
            Some(Err(error)) => Some(Err(self.fail(BodyError::Broken(error)))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_over { SizeHint::with_exact(0) } else { self.incoming.size_hint() }
    }
}
