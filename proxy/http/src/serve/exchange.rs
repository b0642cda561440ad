//! One request and its answer as a whole: what it holds while it lasts, and what is told when it ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};

use super::pulse::{Late, Open};
use super::shared::Shared;
use crate::answer::Fault;
use crate::balance::{Lease, ReleaseState, Share, Ticket};
use crate::body::FaultCell;
use crate::client::{ClientTicket, Visit};

/// Dropped when the last byte of the answer has been handed to the connection, or the client has gone.
pub(crate) struct Exchange {
    began: Instant,
    shared: Arc<Shared>,
    release: Option<Arc<ReleaseState>>,
    status: StatusCode,
    /// The code of our own answer.
    code: Option<&'static str>,
    broke_off: Option<&'static str>,
    attempts: u32,
    bytes_out: u64,
    /// All of the answer went out.
    is_whole: bool,
    /// The request is a `HEAD`, whose answer has no body.
    pub(crate) is_head: bool,
    pub(crate) received: Option<Arc<FaultCell>>,
    entry: Option<Box<Entry>>,
    // Held in this order, given back in it.
    lease: Option<Lease>,
    ticket: Option<Ticket>,
    share: Option<Share>,
    client: Option<(ClientTicket, Option<Visit>)>,
    open: Open,
}

/// What the access log says of an answer that its client did not wait for.
const CLIENT_GONE: &str = "client-gone";

/// The status of a request that was not answered, as nginx has it.
fn unanswered() -> StatusCode {
    StatusCode::from_u16(499).expect("it is one")
}

/// What the access log tells about the request; not kept when it is off.
struct Entry {
    method: Method,
    uri: Uri,
    /// Over HTTP/2 the URI has it.
    host: Option<HeaderValue>,
    client: IpAddr,
    version: Version,
    user_agent: Option<HeaderValue>,
    id: HeaderValue,
}

impl Exchange {
    pub(crate) fn new(shared: Arc<Shared>, open: Open, is_head: bool) -> Self {
        Self {
            began: Instant::now(),
            shared,
            release: None,
            status: unanswered(),
            code: None,
            broke_off: None,
            attempts: 0,
            bytes_out: 0,
            is_whole: false,
            is_head,
            received: None,
            entry: None,
            lease: None,
            ticket: None,
            share: None,
            client: None,
            open,
        }
    }

    pub(crate) fn log(&mut self, parts: &Parts, client: IpAddr, id: &HeaderValue) {
        let host = parts.headers.get(http::header::HOST).cloned();
        let user_agent = parts.headers.get(http::header::USER_AGENT).cloned();
        let (method, uri, id) = (parts.method.clone(), parts.uri.clone(), id.clone());
        self.entry = Some(Box::new(Entry { method, uri, host, client, version: parts.version, user_agent, id }));
    }

    pub(crate) fn belongs_to(&mut self, release: Arc<ReleaseState>, ticket: Ticket) {
        self.release = Some(release);
        self.ticket = Some(ticket);
    }

    /// Waits until the client holds less of the release than its share. It is the peer's, unless another counts.
    pub(crate) async fn wait_for_share(&mut self, peer: &Visit) -> Result<(), Fault> {
        let Some(release) = &self.release else { return Ok(()) };
        let limits = &release.plan.limits;
        let (Some(requests), wait) = (limits.client_requests, limits.client_wait) else { return Ok(()) };
        let behind = self.client.as_ref().and_then(|(_, visit)| visit.as_ref());
        let client = behind.unwrap_or(peer).client();
        let share = Share::take(&release.load, client, requests, wait).await;
        self.share = Some(share.ok_or(Fault::ClientBusy { retry_after_s: wait.as_secs() })?);
        Ok(())
    }

    pub(crate) fn counts_for(&mut self, ticket: ClientTicket, visit: Option<Visit>) {
        self.client = Some((ticket, visit));
    }

    /// Over HTTP/1.1: when the answer has to be with the client.
    pub(crate) fn ends_at(&self, total: Instant) {
        self.open.ends_at(total);
    }

    pub(crate) fn holds(&mut self, lease: Option<Lease>) {
        self.lease = lease;
    }

    /// Whether the answer comes from a handler.
    pub(crate) fn is_of_handler(&self) -> bool {
        let (Some(release), Some(lease)) = (&self.release, &self.lease) else { return false };
        release.upstreams[lease.index].plan.endpoint.is_trusted()
    }

    /// Notes that bytes of the answer went out, and whether those were the last.
    pub(crate) const fn passed(&mut self, bytes: usize, is_whole: bool) {
        self.bytes_out += bytes as u64;
        self.is_whole = is_whole;
    }

    /// Notes bytes that the client sent beyond its request.
    pub(crate) fn passed_in(&self, bytes: usize) {
        if let Some(received) = &self.received {
            received.moved(bytes as u64);
        }
    }

    /// The number of the attempt, from 1.
    pub(crate) const fn begins_attempt(&mut self) -> u32 {
        self.attempts += 1;
        self.attempts
    }

    pub(crate) const fn answered(&mut self, status: StatusCode, code: Option<&'static str>) {
        self.status = status;
        self.code = code;
    }

    /// What the answer broke off for; the first word counts.
    pub(crate) fn broke_off(&mut self, code: &'static str) {
        self.broke_off = self.broke_off.or(Some(code));
    }

    /// Why the answer is not that of the service, or not whole.
    fn error(&self) -> Option<&'static str> {
        if self.code.is_some() || self.is_whole {
            return self.code;
        }
        let received = self.received.as_ref().and_then(|cell| cell.fault());
        let late = self.open.given_up();
        let known = received.map(|fault| fault.code()).or(self.broke_off).or_else(|| late.map(Late::code));
        Some(known.unwrap_or(CLIENT_GONE))
    }

    fn count(&self, micros: u64, bytes_in: u64, error: Option<&'static str>) {
        if let Some(code) = error {
            self.shared.gauges.count_fault(code);
        }
        let Some(release) = &self.release else {
            self.shared.gauges.refused.fetch_add(1, Relaxed);
            return;
        };
        let counters = &release.load.counters;
        let class = usize::from(self.status.as_u16() / 100).clamp(1, 5) - 1;
        counters.answers[class].fetch_add(1, Relaxed);
        counters.micros.fetch_add(micros, Relaxed);
        counters.bytes_out.fetch_add(self.bytes_out, Relaxed);
        if bytes_in > 0 {
            counters.bytes_in.fetch_add(bytes_in, Relaxed);
        }
        if self.code.is_some() {
            counters.refused.fetch_add(1, Relaxed);
        }
        if self.attempts > 1 {
            counters.retries.fetch_add(u64::from(self.attempts - 1), Relaxed);
        }
    }

    fn tell(&self, entry: &Entry, micros: u64, bytes_in: u64, error: Option<&'static str>) {
        let upstream = match (&self.release, &self.lease) {
            (Some(release), Some(lease)) => release.upstreams[lease.index].plan.name.as_str(),
            _ => "-",
        };
        let service = self.release.as_ref().map(|release| (&*release.service, &release.plan.version));
        let service = service.map_or_else(|| "-".to_owned(), |(name, version)| format!("{name}@{version}"));
        let text = |value: &HeaderValue| value.to_str().unwrap_or("?").to_owned();
        let host = entry.host.as_ref().map(text).or_else(|| entry.uri.authority().map(ToString::to_string));
        tracing::info!(
            target: "access",
            client = %entry.client,
            method = %entry.method,
            host = host.as_deref().unwrap_or("-"),
            path = entry.uri.path(),
            protocol = ?entry.version,
            status = self.status.as_u16(),
            error = error.unwrap_or("-"),
            whole = self.is_whole,
            bytes_in,
            bytes_out = self.bytes_out,
            duration_us = micros,
            service,
            upstream,
            attempts = self.attempts,
            user_agent = entry.user_agent.as_ref().map_or_else(|| "-".to_owned(), text),
            request_id = text(&entry.id),
            "request"
        );
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let bytes_in = self.received.as_ref().map_or(0, |cell| cell.bytes());
        let error = self.error();
        self.count(micros, bytes_in, error);
        if let Some(entry) = &self.entry {
            self.tell(entry, micros, bytes_in, error);
        }
    }
}
