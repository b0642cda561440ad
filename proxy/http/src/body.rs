//! The body of a request or an answer, as a stream of frames: data, then trailers.
//!
//! A body is never gathered: whoever wants the next frame asks for it, and the peer's window stays closed until then.
//! A body that comes from a socket counts its bytes against a limit and its silence against a clock; the first breach
//! ends it with an error, and all later reads with nothing. What a breach means to the client is decided in `serve`.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use crate::upstream::GiveBack;

mod begun;
mod fault;
mod wire;

use begun::Begun;
pub(crate) use fault::FaultCell;
pub(crate) use wire::{Bounds, WireBody};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// More bytes came than the limit allows.
    #[error("the body is longer than its limit of {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The sender said nothing for too long.
    #[error("no byte of the body came for {} ms", .limit.as_millis())]
    Idle {
        /// The limit.
        limit: Duration,
    },
    /// The time for the whole exchange was over.
    #[error("the exchange took longer than its limit of {} ms", .limit.as_millis())]
    Total {
        /// The limit.
        limit: Duration,
    },
    /// The connection broke, or the framing did.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// The handler that makes the body failed.
    #[error("the sender of the body failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// A body. `Send`, so that a handler may read it wherever it likes.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Whole(Bytes),
    Wire(Box<WireBody>),
    Begun(Box<Begun>),
    Stream(UnsyncBoxBody<Bytes, BodyError>),
}

impl Body {
    /// A body without a byte.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body that makes its frames as they are asked for. Its errors should be [`BodyError::Failed`].
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self(Kind::Stream(body.boxed_unsync()))
    }

    /// The body of a message that hyper reads.
    pub(crate) fn wire(incoming: Incoming, bounds: Bounds) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        Self(Kind::Wire(Box::new(WireBody::new(incoming, bounds, None))))
    }

    /// The body of an upstream's answer, whose connection is given back at its end.
    pub(crate) fn answer(incoming: Incoming, bounds: Bounds, give_back: Option<GiveBack>) -> Self {
        if incoming.is_end_stream() {
            if let Some(connection) = give_back {
                connection.now();
            }
            return Self::empty();
        }
        Self(Kind::Wire(Box::new(WireBody::new(incoming, bounds, give_back))))
    }

    /// Reads the beginning ahead: until its end, until much has come, or until nothing has come for a moment. Until then
    /// the one who sends it may fail, and nobody has to know.
    ///
    /// # Errors
    /// When it breaks off meanwhile.
    pub(crate) async fn begin(self) -> Result<Self, BodyError> {
        match self.0 {
            Kind::Wire(body) => Ok(Self(Kind::Begun(Box::new(Begun::read(body).await?)))),
            other => Ok(Self(other)),
        }
    }

    /// Whether it is known that not a byte will come: such a request can be sent again.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_end_stream()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Whole(bytes)) }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Whole(_) => "whole",
            Kind::Wire(_) => "wire",
            Kind::Begun(_) => "begun",
            Kind::Stream(_) => "stream",
        };
        write!(f, "Body({kind})")
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(_) => {
                let Kind::Whole(bytes) = std::mem::take(&mut self.0) else { unreachable!("matched above") };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Wire(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Kind::Begun(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Kind::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Whole(_) => false,
            Kind::Wire(body) => body.is_end_stream(),
            Kind::Begun(body) => body.is_end_stream(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Wire(body) => body.size_hint(),
            Kind::Begun(body) => body.size_hint(),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}
