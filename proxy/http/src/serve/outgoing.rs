//! The body of an answer on its way to the client: counted, cleaned, ended in time, and told about at its end.
//!
//! Over HTTP/2 it goes out in pieces, so that a client that takes the answer slowly can be told from one that does not
//! take it, and so that what h2 keeps for a stream is short.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::exchange::Exchange;
use super::pulse::Late;
use super::stall::Stall;
use crate::answer::Fault;
use crate::body::{Body, BodyError};
use crate::edge;

/// Most bytes that are handed to an HTTP/2 stream at once: those of a frame, as most clients allow it. A client has to
/// take so many within `write_idle`.
const PIECE_BYTES: usize = 16 * 1024;

pub(crate) struct Outgoing(Box<Inner>);

struct Inner {
    body: Body,
    /// None after an upgrade: it goes on in the tunnel.
    exchange: Option<Exchange>,
    total: Option<(Pin<Box<Sleep>>, Duration)>,
    /// Over HTTP/2.
    stall: Option<Rc<Stall>>,
    /// What is left of a frame that is handed over in pieces.
    rest: Bytes,
}

impl Inner {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let bytes = if self.stall.is_some() { self.rest.len().min(PIECE_BYTES) } else { self.rest.len() };
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    /// All that was declared is out: over HTTP/1.1 nobody asks for more then.
    fn has_all(&self) -> bool {
        self.rest.is_empty() && self.body.size_hint().exact() == Some(0)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let late = self.stall.as_ref().and_then(|stall| stall.given_up());
        if let (Some(exchange), Some(late)) = (&mut self.exchange, late) {
            exchange.broke_off(late.code());
        }
    }
}

impl Outgoing {
    /// `total` ends the body with an error when it fires.
    pub(crate) fn new(body: Body, mut exchange: Exchange, total: Option<(Pin<Box<Sleep>>, Duration)>) -> Self {
        exchange.passed(0, body.is_end_stream());
        let stall = Stall::own();
        if let Some((sleep, _)) = &total {
            match &stall {
                Some(stall) => stall.ends_at(sleep.deadline()),
                None => exchange.ends_at(sleep.deadline().into_std()),
            }
        }
        Self(Box::new(Inner { body, exchange: Some(exchange), total, stall, rest: Bytes::new() }))
    }

    /// No body, and nothing to tell.
    pub(crate) fn empty() -> Self {
        let (body, rest) = (Body::empty(), Bytes::new());
        Self(Box::new(Inner { body, exchange: None, total: None, stall: None, rest }))
    }
}

/// What the access log says of an answer that broke off.
const fn code_of(error: &BodyError) -> &'static str {
    match error {
        BodyError::Idle { .. } => Fault::UpstreamSlow.code(),
        BodyError::Total { .. } => Late::End.code(),
        BodyError::TooLarge { .. } | BodyError::Broken(_) | BodyError::Failed(_) => Fault::UpstreamBroken.code(),
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let inner = &mut *self.0;
        if let Some(stall) = &inner.stall {
            stall.moves();
        }
        if let Some((sleep, limit)) = &mut inner.total
            && sleep.as_mut().poll(cx).is_ready()
        {
            let limit = *limit;
            inner.total = None;
            (inner.body, inner.rest) = (Body::empty(), Bytes::new());
            if let Some(exchange) = &mut inner.exchange {
                exchange.broke_off(Late::End.code());
            }
            return Poll::Ready(Some(Err(BodyError::Total { limit })));
        }
        let frame = ready!(inner.poll_piece(cx));
        let is_whole = frame.is_none() || (matches!(frame, Some(Ok(_))) && (inner.is_end() || inner.has_all()));
        if let Some(stall) = &inner.stall {
            stall.holds();
        }
        if let Some(exchange) = &mut inner.exchange {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            exchange.passed(data.map_or(0, Bytes::len), is_whole);
            if let Some(Err(error)) = &frame {
                exchange.broke_off(code_of(error));
            }
        }
        Poll::Ready(frame.map(|frame| {
            let mut frame = frame.inspect_err(|error| tracing::debug!(%error, "the body of an answer broke off"))?;
            if let Some(trailers) = frame.trailers_mut() {
                edge::clean_trailers(trailers);
            }
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end()
    }

    /// As it is before the first frame: hyper asks no later.
    fn size_hint(&self) -> SizeHint {
        self.0.body.size_hint()
    }
}
