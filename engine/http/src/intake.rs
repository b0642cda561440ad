//! Requests before they reach a guest: what they must have and how large they may be.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::head::header_bytes;
use crate::limits::Limits;
use crate::moved::Moved;
use crate::refusal::Refusal;

/// What has become of a request's body.
#[derive(Clone, Default)]
pub(crate) struct Taken {
    /// When the guest took of it.
    pub(crate) moved: Moved,
    too_long: Arc<AtomicBool>,
}

impl Taken {
    /// Whether it has turned out to be larger than it may be.
    pub(crate) fn is_too_long(&self) -> bool {
        self.too_long.load(Ordering::Relaxed)
    }
}

/// Checks a request as far as its head tells.
pub(crate) fn check<B: Body>(request: &http::Request<B>, limits: &Limits) -> Result<(), Refusal> {
    if request.uri().authority().is_none() && request.headers().get(HOST).is_none_or(|host| host.to_str().is_err()) {
        return Err(Refusal::NoHost);
    }
    if header_bytes(request.headers()) > limits.header_bytes {
        return Err(Refusal::RequestHeaders { limit: limits.header_bytes });
    }
    let limit = limits.request_body_bytes;
    if declared(request).is_some_and(|length| length > limit) {
        return Err(Refusal::RequestBody { limit });
    }
    Ok(())
}

/// Bounds a request's body.
pub(crate) fn bound<B>(request: http::Request<B>, limits: &Limits) -> (http::Request<WasiBody>, Taken)
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let (limit, taken) = (limits.request_body_bytes, Taken::default());
    let by_guest = taken.clone();
    let request = request.map(|body| {
        let body = Bounded { body: Box::pin(body), left: limit, limit, taken: by_guest };
        body.boxed_unsync()
    });
    (request, taken)
}

fn declared<B: Body>(request: &http::Request<B>) -> Option<u64> {
    let header = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    header.or_else(|| request.body().size_hint().exact())
}

/// A body that fails beyond a number of bytes. What breaks off fails too: a guest never takes a part for the whole.
struct Bounded<B> {
    body: Pin<Box<B>>,
    left: u64,
    limit: u64,
    taken: Taken,
}

impl<B: Body<Data = Bytes>> Body for Bounded<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) else {
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(self.pass(frame)),
            Some(Err(_)) => Some(Err(Error::ConnectionTerminated)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Bounded<B> {
    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                self.taken.moved.note();
                Ok(frame)
            }
            None => {
                self.taken.too_long.store(true, Ordering::Relaxed);
                Err(Error::HttpRequestBodySize(Some(self.limit)))
            }
        }
    }
}
