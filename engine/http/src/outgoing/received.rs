//! The body of an upstream's response: bounded in bytes and in the time between them. Its end gives the connection back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use wasmtime_wasi_http::Error;

use super::connect::Connection;
use super::exchange::{Place, reason};
use super::target::Target;
use crate::permissions::Grant;
use crate::service::Inner;

/// How long a connection may take to be ready again once a response is complete.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) struct Received {
    body: Incoming,
    left: u64,
    between: Duration,
    /// Runs while the upstream is waited for.
    clock: Option<Pin<Box<Sleep>>>,
    service: Arc<Inner>,
    /// None once the body is over.
    rest: Option<Rest>,
}

struct Rest {
    connection: Connection,
    key: (Target, Grant),
    _place: Place,
}

impl Received {
    pub(crate) fn new(
        body: Incoming,
        connection: Connection,
        service: Arc<Inner>,
        key: (Target, Grant),
        between: Duration,
        place: Place,
    ) -> Self {
        let left = service.limits.outgoing_response_bytes;
        let rest = Some(Rest { connection, key, _place: place });
        let mut received = Self { body, left, between, clock: None, service, rest };
        received.settle_at_end();
        received
    }

    fn settle_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.settle();
        }
    }

    /// The response is complete: the connection may serve another request, when it is ready for one. If it is not soon,
    /// since the request is still being sent, it ends, and with it the call.
    fn settle(&mut self) {
        let Some(Rest { mut connection, key, .. }) = self.rest.take() else {
            return;
        };
        let service = Arc::downgrade(&self.service);
        self.service.host.outgoing.spawn(async move {
            if let Ok(Ok(())) = tokio::time::timeout(SETTLE, connection.sender.ready()).await
                && let Some(service) = service.upgrade()
            {
                service.kept.keep(key, connection);
            }
        });
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = self.left.checked_sub(length) else {
            self.rest = None;
            return Err(Error::HttpResponseBodySize(Some(self.service.limits.outgoing_response_bytes)));
        };
        self.left = left;
        Ok(frame)
    }

    fn poll_clock(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let between = self.between;
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
        clock.as_mut().poll(context)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            return this.poll_clock(context).map(|()| {
                this.rest = None;
                Some(Err(Error::ConnectionReadTimeout))
            });
        };
        this.clock = None;
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                this.settle_at_end();
                Some(this.pass(frame))
            }
            Some(Err(error)) => {
                this.rest = None;
                Some(Err(reason(error)))
            }
            None => {
                this.settle();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
