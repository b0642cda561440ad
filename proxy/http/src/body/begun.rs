//! A body whose beginning was read before anybody was told of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::{BodyError, WireBody};

/// Most bytes that are read ahead, but for the last frame.
const MAX_BYTES: u64 = 64 * 1024;
/// How long the whole of it may take: a head is told so much later at the most.
const MOMENT: Duration = Duration::from_millis(2);

/// What was read, and what was not.
pub(super) struct Begun {
    frames: VecDeque<Frame<Bytes>>,
    /// Of the data among them.
    bytes: u64,
    rest: Option<Box<WireBody>>,
}

impl Begun {
    pub(super) async fn read(mut rest: Box<WireBody>) -> Result<Self, BodyError> {
        let mut begun = Self { frames: VecDeque::new(), bytes: 0, rest: None };
        let deadline = Instant::now() + MOMENT;
        while begun.bytes < MAX_BYTES {
            match timeout_at(deadline, rest.frame()).await {
                Ok(Some(frame)) => begun.push(frame?),
                Ok(None) => return Ok(begun),
                Err(_) => break,
            }
        }
        begun.rest = Some(rest);
        Ok(begun)
    }

    fn push(&mut self, frame: Frame<Bytes>) {
        self.bytes += data_bytes(&frame);
        self.frames.push_back(frame);
    }
}

fn data_bytes(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= data_bytes(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest.as_mut()).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    /// Of a body that is here whole, and has no trailers, the length is known, whether or not it was told.
    fn size_hint(&self) -> SizeHint {
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            None if self.frames.iter().any(Frame::is_trailers) => SizeHint::default(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::default();
        hint.set_lower(rest.lower() + self.bytes);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + self.bytes);
        }
        hint
    }
}
