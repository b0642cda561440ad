//! The body of an answer on its way to the client: counted, cleaned, ended in time, and told about at its end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::exchange::Exchange;
use crate::body::{Body, BodyError};
use crate::edge;

pub(crate) struct Outgoing(Box<Inner>);

struct Inner {
    body: Body,
    /// None after an upgrade: it goes on in the tunnel.
    exchange: Option<Exchange>,
    total: Option<(Pin<Box<Sleep>>, Duration)>,
}

impl Outgoing {
    /// `total` ends the body with an error when it fires.
    pub(crate) fn new(body: Body, mut exchange: Exchange, total: Option<(Pin<Box<Sleep>>, Duration)>) -> Self {
        exchange.passed(0, body.is_end_stream());
        Self(Box::new(Inner { body, exchange: Some(exchange), total }))
    }

    /// No body, and nothing to tell.
    pub(crate) fn empty() -> Self {
        Self(Box::new(Inner { body: Body::empty(), exchange: None, total: None }))
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let inner = &mut *self.0;
        if let Some((sleep, limit)) = &mut inner.total
            && sleep.as_mut().poll(cx).is_ready()
        {
            let limit = *limit;
            inner.total = None;
            inner.body = Body::empty();
            return Poll::Ready(Some(Err(BodyError::Total { limit })));
        }
        let frame = std::task::ready!(Pin::new(&mut inner.body).poll_frame(cx));
        let is_whole = frame.is_none() || (matches!(frame, Some(Ok(_))) && inner.body.is_end_stream());
        if let Some(exchange) = &mut inner.exchange {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            exchange.passed(data.map_or(0, Bytes::len), is_whole);
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
        self.0.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.size_hint()
    }
}
