//! A response's body: its reader lets the guest go on.
//!
//! Nobody else does: a guest whose response is not read stands still, so that no more of it is buffered than the few
//! pieces of its stream. Dropping a body before its end ends the guest. When the body is complete and the guest is not,
//! it goes on in the background for a while.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::WasiBody;

use crate::call::Call;
use crate::fault::{Fault, Kind};
use crate::limits::Limits;

/// Why a body ended before it was complete. Whoever sends it on must break the response off: the part is not the whole.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The guest trapped.
    #[error("the service failed in the midst of its response: {word}")]
    Trapped {
        /// What happened: one of a few fixed words.
        word: &'static str,
        /// wasmtime's account, for operators.
        detail: String,
    },
    /// The guest used more processor time than it may.
    #[error("the service used up its processor time in the midst of its response")]
    Cpu,
    /// The guest broke its own body off, or wrote another length than it had declared.
    #[error("the service broke its response off")]
    Broken {
        /// The error's text, for operators.
        detail: String,
    },
    /// The response took too long.
    #[error("the response took longer than {} ms", limit.as_millis())]
    Lifetime {
        /// The service's limit.
        limit: Duration,
    },
    /// The body is larger than it may be.
    #[error("the response's body exceeds {limit} bytes")]
    TooLong {
        /// In bytes.
        limit: u64,
    },
}

impl BodyError {
    fn of(fault: &Fault) -> Self {
        match fault.kind {
            Kind::Cpu => Self::Cpu,
            Kind::Trapped(word) => Self::Trapped { word, detail: fault.detail.clone() },
            Kind::Instantiate => Self::Trapped { word: "host", detail: fault.detail.clone() },
        }
    }
}

/// The body of a response, as its guest writes it.
pub struct HostBody {
    /// None once the body is over.
    source: Option<Source>,
    /// Frames that were there when the guest ended.
    ready: VecDeque<Frame<Bytes>>,
    /// What comes after them, unless they are the whole.
    fault: Option<BodyError>,
    /// Bytes that are still to come, if they were declared or the guest has ended. Whoever sends the body on counts on
    /// it: it ends with as many bytes, or with an error.
    expected: Option<u64>,
    /// Bytes that may still come.
    left: u64,
    limit: u64,
    lifetime: Duration,
    began: Instant,
    clock: Option<Pin<Box<Sleep>>>,
    afterwards: Duration,
}

struct Source {
    frames: WasiBody,
    call: Call,
}

impl HostBody {
    /// `began` is when the guest got the request, `expected` what the response declares.
    pub(crate) fn new(frames: WasiBody, call: Call, expected: Option<u64>, began: Instant, limits: &Limits) -> Self {
        let mut body = Self {
            source: Some(Source { frames, call }),
            ready: VecDeque::new(),
            fault: None,
            expected,
            left: limits.response_body_bytes,
            limit: limits.response_body_bytes,
            lifetime: limits.lifetime,
            began,
            clock: None,
            afterwards: limits.afterwards,
        };
        body.gather();
        body
    }

    /// A body that nobody will read: a response to HEAD, or of a status without one. The guest goes on by itself.
    pub(crate) fn silent(mut self) -> Self {
        self.ready.clear();
        self.fault = None;
        self.expected = Some(0);
        if let Some(source) = self.source.take() {
            source.finish(self.afterwards, true);
        }
        self
    }

    /// Takes what a guest that has ended left behind, so that a short response's length is known.
    fn gather(&mut self) {
        let Some(source) = self.source.as_mut().filter(|source| matches!(source.call.over(), Some(Ok(())))) else {
            return;
        };
        let mut context = Context::from_waker(Waker::noop());
        let fault = loop {
            // Without tokio's budget, which would make a frame that is there look like none.
            let frame = unconstrained(source.frames.frame());
            match std::pin::pin!(frame).poll(&mut context) {
                Poll::Ready(Some(Ok(frame))) => self.ready.push_back(frame),
                Poll::Ready(Some(Err(error))) => break Some(broken(error.to_string())),
                Poll::Ready(None) => break None,
                Poll::Pending => break Some(left_open()),
            }
        };
        self.source = None;
        let bytes = self.ready.iter().map(length).sum();
        self.fault = fault.or_else(|| self.expected.filter(|declared| *declared != bytes).map(|_| other_length()));
        match self.fault {
            // Whoever has as many bytes as were declared would take them for the whole.
            Some(_) if self.expected.is_some() => self.ready.clear(),
            Some(_) => {}
            None if self.ready.iter().all(Frame::is_data) => self.expected = Some(bytes),
            None => {}
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let length = length(&frame);
        let Some(left) = self.left.checked_sub(length) else {
            return Err(self.end(BodyError::TooLong { limit: self.limit }));
        };
        self.left = left;
        if let Some(expected) = self.expected {
            let Some(expected) = expected.checked_sub(length) else {
                return Err(self.end(other_length()));
            };
            self.expected = Some(expected);
        }
        Ok(frame)
    }

    /// Ends the guest, and the body.
    fn end(&mut self, error: BodyError) -> BodyError {
        self.source = None;
        self.ready.clear();
        self.fault = None;
        error
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.source.is_some() && self.began.elapsed() >= self.lifetime {
            // A body that is always ready never waits for the clock.
            return Poll::Ready(Some(Err(self.overtime())));
        }
        let Some(source) = &mut self.source else {
            return Poll::Ready(self.fault.take().map(Err));
        };
        match source.poll(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.pass(frame))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.end(error)))),
            Poll::Ready(None) if self.expected.is_some_and(|left| left > 0) => {
                Poll::Ready(Some(Err(self.end(other_length()))))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_clock(context).map(|()| Some(Err(self.overtime()))),
        }
    }

    fn overtime(&mut self) -> BodyError {
        self.end(BodyError::Lifetime { limit: self.lifetime })
    }

    fn poll_clock(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let until = self.began + self.lifetime;
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        clock.as_mut().poll(context)
    }

    /// The body is complete; the guest may not be.
    fn finish(&mut self) {
        if let Some(source) = self.source.take() {
            source.finish(self.afterwards, false);
        }
    }
}

impl Source {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut asked = false;
        loop {
            match Pin::new(&mut self.frames).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(self.error(error.to_string(), context)))),
                // A guest that is gone ends its stream as one that is done: only its call can tell them apart.
                Poll::Ready(None) => {
                    return Poll::Ready(match self.call.poll(context) {
                        Poll::Ready(Err(fault)) => Some(Err(BodyError::of(fault))),
                        Poll::Ready(Ok(())) | Poll::Pending => None,
                    });
                }
                // Nobody is left who could write on: what is there is all.
                Poll::Pending if asked && matches!(self.call.over(), Some(Ok(()))) => {
                    let frame = unconstrained(self.frames.frame());
                    return Poll::Ready(match std::pin::pin!(frame).poll(context) {
                        Poll::Ready(frame) => frame.map(|frame| frame.map_err(|error| broken(error.to_string()))),
                        Poll::Pending => Some(Err(left_open())),
                    });
                }
                Poll::Pending if asked => return Poll::Pending,
                Poll::Pending => {
                    asked = true;
                    let _ = self.call.poll(context);
                }
            }
        }
    }

    fn error(&mut self, detail: String, context: &mut Context<'_>) -> BodyError {
        match self.call.poll(context) {
            Poll::Ready(Err(fault)) => BodyError::of(fault),
            _ => broken(detail),
        }
    }

    /// Lets the guest go on alone for a while, its body read by nobody or by the host.
    fn finish(self, afterwards: Duration, drain: bool) {
        let Self { frames, mut call } = self;
        let mut frames = drain.then_some(frames);
        let host = call.host();
        let mut rest = move |context: &mut Context<'_>| {
            if let Some(frames) = &mut frames {
                while let Poll::Ready(Some(Ok(_))) = Pin::new(&mut *frames).poll_frame(context) {}
            }
            call.poll(context).map(drop)
        };
        // Mostly there is nothing left to do but to notice that the body is gone.
        if rest(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        let rest = std::future::poll_fn(rest);
        host.background.spawn(async move {
            let _ = tokio::time::timeout(afterwards, rest).await;
        });
    }
}

impl Body for HostBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.ready.pop_front() {
            Some(frame) => Poll::Ready(Some(self.pass(frame))),
            None => self.poll_source(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none() && self.ready.is_empty() && self.fault.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.expected.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for HostBody {
    fn drop(&mut self) {
        // A server stops reading when it has as many bytes as were declared.
        if self.expected == Some(0) && self.ready.is_empty() {
            self.finish();
        }
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, Bytes::len) as u64
}

fn broken(detail: String) -> BodyError {
    BodyError::Broken { detail }
}

fn left_open() -> BodyError {
    broken("the guest ended and left its body open".to_owned())
}

fn other_length() -> BodyError {
    broken("the body has not the length that was declared".to_owned())
}
