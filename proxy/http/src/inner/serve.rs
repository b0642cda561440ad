//! Requests from other front ends.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use semver::Version;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{http2, wire};
use crate::balance::{Here, Lease, ReleaseState};
use crate::body::{Body, BodyError, Bounds};
use crate::edge;
use crate::handler::{Cause, Refusal};
use crate::plan::Endpoint;
use crate::serve::{InnerPlace, Loop};

/// When a request that finds all places taken should be tried again.
const BUSY: Duration = Duration::from_secs(1);

/// Why this front end has no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("nobody of this process answers requests for {0}")]
    NotHere(String),
    #[error("the request does not say rightly for whom it is")]
    NoTarget,
    #[error("nobody of this process answers requests without a target")]
    NoOwner,
}

/// Serves a stream until the other end is done, it breaks, or this end has drained.
pub(crate) async fn serve(own: Rc<Loop>, stream: TcpStream, place: InnerPlace) {
    let mut drain = own.shared.drain.subscribe();
    let patience = own.shared.patience;
    // Whether the other end lives is asked from its first bytes on: until then nothing else would end this.
    if !matches!(timeout(patience, stream.peek(&mut [0])).await, Ok(Ok(1))) {
        return;
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let own = Rc::clone(&own);
        async move { Ok::<_, Infallible>(answer(&own, request).await) }
    });
    let mut served = pin!(http2::server(patience).serve_connection(TokioIo::new(stream), service));
    let must_drain = tokio::select! {
        biased;
        _ = served.as_mut() => false,
        _ = drain.wait_for(|is_draining| *is_draining) => true,
    };
    if must_drain {
        // Requests that are on their way are answered; the other end sends no more.
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }
    drop(place);
}

async fn answer(own: &Loop, request: Request<Incoming>) -> Response<Answer> {
    let (mut parts, incoming) = request.into_parts();
    let Some(target) = wire::take_target(&mut parts.headers) else {
        return of_owner(own, Request::from_parts(parts, incoming)).await;
    };
    let Ok((service, version)) = target else { return refused(&broken(NoAnswer::NoTarget), true) };
    let release = own.live().release(&service, &version).cloned();
    match release {
        Some(release) => of_release(release, parts, incoming).await,
        None => refused(&not_here(&service, &version), true),
    }
}

/// What the owner of this front end says to another one.
async fn of_owner(own: &Loop, request: Request<Incoming>) -> Response<Answer> {
    let Some(owner) = &own.shared.inner else { return refused(&broken(NoAnswer::NoOwner), true) };
    let bounds = Bounds { bytes: 0, idle: own.shared.limits.idle, fault: None };
    match owner.call(request.map(|incoming| Body::wire(incoming, bounds))).await {
        Ok(response) => response.map(|body| Answer { body, held: None }),
        Err(Refusal { cause, .. }) => refused(&cause, false),
    }
}

async fn of_release(release: Arc<ReleaseState>, parts: Parts, incoming: Incoming) -> Response<Answer> {
    let version = &release.plan.version;
    let lease = match release.place_here() {
        Here::Lease(lease) => lease,
        Here::Full => return refused(&Cause::Busy { retry_after: BUSY }, true),
        Here::Nobody => return refused(&not_here(&release.service, version), true),
    };
    let Endpoint::Handler(handler) = &release.upstreams[lease.index].plan.endpoint else {
        unreachable!("a place here is one at a handler")
    };
    release.load.counters.inner.fetch_add(1, Relaxed);
    let limits = &release.plan.limits;
    let bounds = Bounds { bytes: limits.body_bytes, idle: limits.body_idle, fault: None };
    let is_head = parts.method == Method::HEAD;
    match handler.call(Request::from_parts(parts, Body::wire(incoming, bounds))).await {
        Ok(mut response) => {
            edge::clean_response(response.headers_mut(), true);
            if is_head || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
                crate::answer::drop_body(&mut response);
            }
            response.map(|body| Answer { body, held: Some((lease, release)) })
        }
        Err(Refusal { cause, request }) => refused(&cause, request.is_some()),
    }
}

fn broken(error: NoAnswer) -> Cause {
    Cause::Broken(Box::new(error))
}

fn not_here(service: &str, version: &Version) -> Cause {
    Cause::Unreachable(Box::new(NoAnswer::NotHere(format!("{service}@{version}"))))
}

fn refused(cause: &Cause, is_untouched: bool) -> Response<Answer> {
    tracing::debug!(error = cause as &dyn std::error::Error, "a request of another node has no answer here");
    let mut response = Response::new(Answer { body: Body::empty(), held: None });
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    wire::set_refusal(response.headers_mut(), cause, is_untouched);
    response
}

/// The body of an answer, and what it holds until its end: its place, and the release with its handler.
struct Answer {
    body: Body,
    held: Option<(Lease, Arc<ReleaseState>)>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.held = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
