//! The way of a request: checked, counted, prepared, placed at an upstream, perhaps at another, and answered.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::exchange::Exchange;
use super::outgoing::Outgoing;
use super::prepare::{Prepared, client_behind, prepare};
use super::tunnel;
use crate::answer::{self, Fault};
use crate::balance::{Lease, ReleaseState, is_idempotent, may_go_elsewhere};
use crate::body::{Body, Bounds, FaultCell};
use crate::client::Wait;
use crate::edge::{self, REQUEST_ID};
use crate::handler::{Cause, Refusal};
use crate::live::Live;
use crate::plan::Endpoint;
use crate::upstream::{Failure, send};

impl Connection {
    /// Answers, always.
    pub(crate) async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Outgoing> {
        let (number, open) = self.pulse.begin();
        let live = self.own.live();
        let is_head = *request.method() == Method::HEAD;
        let mut exchange = Exchange::new(Arc::clone(&self.own.shared), open, is_head);
        let (mut parts, incoming) = request.into_parts();
        let id = edge::request_id(&mut parts.headers, fastrand::u128(..));
        let behind = client_behind(&self.peer, &parts.headers, &live);
        if live.plan.access_log {
            exchange.log(&parts, behind.unwrap_or(self.peer.address), &id);
        }
        let prepared = self.admit(&mut exchange, &mut parts, &live, number, behind);
        let answered = match prepared {
            Ok(prepared) => self.pass_on(&mut exchange, parts, incoming, prepared).await,
            Err(fault) => Err(fault),
        };
        match answered {
            Ok(mut passed) => {
                let status = passed.response.status();
                let is_bodiless = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
                if !answer::has_true_length(&passed.response, is_bodiless) {
                    return self.refuse(&Fault::UpstreamBroken, exchange, id);
                }
                if is_bodiless {
                    answer::drop_body(&mut passed.response);
                }
                self.finish(passed, exchange, id)
            }
            Err(fault) => self.refuse(&fault, exchange, id),
        }
    }

    /// Everything that can be said without the upstream.
    fn admit(
        &self,
        exchange: &mut Exchange,
        parts: &mut Parts,
        live: &Arc<Live>,
        number: u32,
        behind: Option<std::net::IpAddr>,
    ) -> Result<Prepared, Fault> {
        if let Some(fault) = self.pulse.fault_of(number) {
            return Err(fault);
        }
        self.count_client(exchange, live, behind)?;
        let prepared = prepare(parts, &self.peer, live, self.own.shared.limits.uri_bytes)?;
        let ticket = prepared.release.enter()?;
        exchange.belongs_to(Arc::clone(&prepared.release), ticket);
        Ok(prepared)
    }

    fn count_client(
        &self,
        exchange: &mut Exchange,
        live: &Live,
        behind: Option<std::net::IpAddr>,
    ) -> Result<(), Fault> {
        let visit = match behind {
            Some(client) => {
                let visit = self.own.shared.clients.visit(client, u32::MAX);
                Some(visit.ok_or(Fault::ClientBusy { retry_after_s: 1 })?)
            }
            None => None,
        };
        let counted = visit.as_ref().unwrap_or(&self.visit).request(&live.plan.client);
        let ticket = counted.map_err(|wait| match wait {
            Wait::TooMany => Fault::ClientBusy { retry_after_s: 1 },
            Wait::TooFast(time) => Fault::ClientTooFast { retry_after_s: time.as_secs() + 1 },
        })?;
        exchange.counts_for(ticket, visit);
        Ok(())
    }

    async fn pass_on(
        &self,
        exchange: &mut Exchange,
        mut parts: Parts,
        incoming: Incoming,
        prepared: Prepared,
    ) -> Result<Passed, Fault> {
        let Prepared { release, upgrade } = prepared;
        exchange.wait_for_share(&self.visit).await?;
        let limits = &release.plan.limits;
        let client = upgrade.as_ref().and_then(|_| parts.extensions.remove::<OnUpgrade>());
        if let Some(protocol) = upgrade.filter(|_| client.is_some()) {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol);
        }
        let deadline = limits.total.map(|total| (Instant::now() + total, total));
        let cell = Arc::new(FaultCell::default());
        exchange.received = Some(Arc::clone(&cell));
        let bounds = Bounds { bytes: limits.body_bytes, idle: limits.body_idle, fault: Some(Arc::clone(&cell)) };
        let request = Request::from_parts(parts, Body::wire(incoming, bounds));
        let attempt = Attempts { connection: self, release: &release, cell: &cell, deadline };
        let response = attempt.run(exchange, request).await?;
        let total = deadline.map(|(at, total)| (Box::pin(sleep_until(at)), total));
        Ok(Passed { response, client, total, tunnel_idle: limits.tunnel_idle })
    }

    fn finish(self: Rc<Self>, passed: Passed, mut exchange: Exchange, id: HeaderValue) -> Response<Outgoing> {
        let Passed { mut response, client, total, tunnel_idle } = passed;
        exchange.answered(response.status(), None);
        if response.status().is_informational() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.refuse(&Fault::UpstreamBroken, exchange, id);
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let protocol = response.headers().get(UPGRADE).cloned();
            let upstream = response.extensions_mut().remove::<OnUpgrade>();
            let (Some(client), Some(upstream), Some(protocol)) = (client, upstream, protocol) else {
                // Nobody asked for it.
                return self.refuse(&Fault::UpstreamBroken, exchange, id);
            };
            edge::clean_response(response.headers_mut(), exchange.is_of_handler());
            response.headers_mut().insert(REQUEST_ID, id);
            if self.is_http2 {
                // The stream is the tunnel, not the connection (RFC 8441, section 5).
                *response.status_mut() = StatusCode::OK;
                edge::clean_websocket(response.headers_mut());
            } else {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
                response.headers_mut().insert(UPGRADE, protocol);
                self.pulse.upgrade();
            }
            tunnel::open(self, client, upstream, exchange, tunnel_idle);
            return response.map(|_| Outgoing::empty());
        }
        if self.is_http2 && client.is_some() && response.status().is_success() {
            // It would open a tunnel to nobody.
            return self.refuse(&Fault::UpstreamBroken, exchange, id);
        }
        edge::clean_response(response.headers_mut(), exchange.is_of_handler());
        response.headers_mut().insert(REQUEST_ID, id);
        *response.version_mut() = Version::HTTP_11;
        response.map(|body| Outgoing::new(body, exchange, total))
    }

    fn refuse(&self, fault: &Fault, mut exchange: Exchange, id: HeaderValue) -> Response<Outgoing> {
        exchange.answered(fault.status(), Some(fault.code()));
        let mut response = fault.response(!self.is_http2);
        if exchange.is_head {
            // Over HTTP/2 nobody else drops it (RFC 9110, section 9.3.2).
            answer::drop_body(&mut response);
        }
        response.headers_mut().insert(REQUEST_ID, id);
        response.map(|body| Outgoing::new(body, exchange, None))
    }
}

/// An answer, and what belongs to it.
struct Passed {
    response: Response<Body>,
    client: Option<OnUpgrade>,
    total: Option<(std::pin::Pin<Box<tokio::time::Sleep>>, Duration)>,
    tunnel_idle: Duration,
}

/// One request at one upstream after another.
struct Attempts<'a> {
    connection: &'a Connection,
    release: &'a ReleaseState,
    cell: &'a FaultCell,
    deadline: Option<(Instant, Duration)>,
}

impl Attempts<'_> {
    async fn run(&self, exchange: &mut Exchange, request: Request<Body>) -> Result<Response<Body>, Fault> {
        let mut tried = Vec::new();
        let mut next = request;
        let mut last: Option<Fault> = None;
        loop {
            // When no other upstream is left, what the last one did is the better answer.
            let placed = self.release.place(&tried).await;
            let lease = placed.map_err(|fault| last.take().unwrap_or(fault))?;
            let attempt = exchange.begins_attempt();
            let spare = self.spare(attempt, &next);
            let index = lease.index;
            let may_repeat = spare.as_ref().is_some_and(|spare| is_idempotent(spare.method()));
            let failure = match self.try_once(&lease, next, may_repeat).await {
                Ok(response) => {
                    lease.upstream.succeeded();
                    exchange.holds(Some(lease));
                    return Ok(response);
                }
                Err(failure) => failure,
            };
            let fault = self.note(&lease, &failure);
            exchange.holds(Some(lease));
            let was_reused = failure.was_reused;
            next = self.again(attempt, failure, spare).ok_or_else(|| fault.clone())?;
            last = Some(fault);
            exchange.holds(None);
            if !was_reused {
                tried.push(index);
            }
        }
    }

    /// The request for the next attempt, if there may be one.
    fn again(&self, attempt: u32, failure: Failure, spare: Option<Request<Body>>) -> Option<Request<Body>> {
        let Failure { refusal: Refusal { cause, request }, is_untouched, .. } = failure;
        let request = request.map(|request| *request).or(spare)?;
        let may = may_go_elsewhere(&cause, is_untouched, request.method(), request.body().is_empty());
        (may && attempt < self.release.plan.limits.attempts).then_some(request)
    }

    /// A second copy of a request that has no body, if there is anywhere to send it.
    fn spare(&self, attempt: u32, request: &Request<Body>) -> Option<Request<Body>> {
        let is_last = attempt >= self.release.plan.limits.attempts;
        let is_alone = matches!(&self.release.upstreams[..], [only] if only.address.is_none());
        if is_last || is_alone || !request.body().is_empty() {
            return None;
        }
        let mut copy = Request::new(Body::empty());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        Some(copy)
    }

    /// One try, until the head of the answer is there or it is too late for it.
    async fn try_once(
        &self,
        lease: &Lease,
        request: Request<Body>,
        may_repeat: bool,
    ) -> Result<Response<Body>, Failure> {
        let upstream = &self.release.upstreams[lease.index];
        let own = &self.connection.own;
        // What has had an answer was executed: only what changes nothing is worth a second time.
        let may_end = may_repeat && request.method().is_safe() && matches!(upstream.plan.endpoint, Endpoint::Inner(_));
        let sent = async {
            let response = send(&own.pool, self.release, upstream, request, own.shared.patience).await?;
            if !may_end {
                return Ok(response);
            }
            // A node that dies while its answer is under way costs nothing, if the answer is short and comes at once.
            let (head, body) = response.into_parts();
            let begun = body.begin().await.map_err(|error| Refusal::begun(Cause::Broken(Box::new(error))))?;
            Ok(Response::from_parts(head, begun))
        };
        tokio::select! {
            biased;
            answered = sent => answered,
            limit = self.too_late() => Err(Refusal::begun(Cause::Timeout { limit }).into()),
        }
    }

    /// Returns when the answer is due. As long as the request's body moves it is not.
    async fn too_late(&self) -> Duration {
        let limit = self.release.plan.limits.answer;
        loop {
            let frames = self.cell.frames();
            let due = Instant::now() + limit;
            match self.deadline {
                Some((at, total)) if at <= due => {
                    sleep_until(at).await;
                    return total;
                }
                _ => sleep_until(due).await,
            }
            if self.cell.frames() == frames {
                return limit;
            }
        }
    }

    /// Tells the balance and the log what a failure means, and what the client would be told.
    fn note(&self, lease: &Lease, failure: &Failure) -> Fault {
        if let Some(fault) = self.cell.fault() {
            return fault;
        }
        let cause = &failure.refusal.cause;
        let upstream = &self.release.upstreams[lease.index];
        let is_fault = matches!(cause, Cause::Unreachable(_) | Cause::Broken(_)) && !failure.was_reused;
        let is_ejected = is_fault && lease.upstream.failed();
        if is_ejected {
            tracing::warn!(
                service = &*self.release.service,
                version = %self.release.plan.version,
                upstream = upstream.plan.name,
                error = cause as &dyn std::error::Error,
                "an upstream is left alone for a while"
            );
        } else {
            tracing::debug!(
                service = &*self.release.service,
                upstream = upstream.plan.name,
                error = cause as &dyn std::error::Error,
                "a request failed at an upstream"
            );
        }
        Fault::from(cause)
    }
}
