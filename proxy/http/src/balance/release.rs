//! A release as it runs: its upstreams with their loads, and the queue before them.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use tokio::time::timeout;

use super::load::take_place;
use super::pick::{Candidate, Pick, Standing, pick};
use super::{Lease, ReleaseLoad, Ticket, UpstreamLoad};
use crate::answer::Fault;
use crate::plan::{Endpoint, Release, Upstream};
use crate::upstream::Address;

/// A release of the plan in force.
#[derive(Debug)]
pub(crate) struct ReleaseState {
    /// `namespace/name`.
    pub(crate) service: Arc<str>,
    pub(crate) plan: Release,
    pub(crate) load: Arc<ReleaseLoad>,
    pub(crate) upstreams: Vec<UpstreamState>,
}

#[derive(Debug)]
pub(crate) struct UpstreamState {
    pub(crate) plan: Upstream,
    /// Where it is, unless it is in this process.
    pub(crate) address: Option<Address>,
    pub(crate) load: Arc<UpstreamLoad>,
}

impl UpstreamState {
    /// Whether it takes requests, as far as it says itself.
    pub(crate) fn is_ready(&self) -> bool {
        let is_ready = match &self.plan.endpoint {
            Endpoint::Handler(handler) => handler.is_ready(),
            Endpoint::Inner(dial) => dial.is_up(),
            Endpoint::Tcp(_) | Endpoint::Unix(_) => true,
        };
        is_ready && self.load.is_well.load(Relaxed)
    }

    fn candidate(&self, is_tried: bool) -> Candidate {
        let standing = if is_tried || self.plan.is_draining || !self.is_ready() {
            Standing::Out
        } else if self.load.is_ejected() {
            Standing::Ejected
        } else {
            Standing::Good
        };
        Candidate {
            outstanding: self.load.outstanding.load(Relaxed),
            limit: self.plan.requests,
            is_local: self.plan.endpoint.is_local(),
            standing,
        }
    }
}

/// What came of asking for a place in this process.
pub(crate) enum Here {
    Lease(Lease),
    /// All places are taken.
    Full,
    /// No handler of this process takes requests of the release.
    Nobody,
}

/// Someone who waits for a place: counted as long as it lives.
struct Waiting<'a>(&'a ReleaseLoad);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

impl ReleaseState {
    /// A place among all requests of the release.
    pub(crate) fn enter(&self) -> Result<Ticket, Fault> {
        Ticket::take(&self.load, self.plan.limits.requests).ok_or(Fault::ServiceBusy { retry_after_s: 1 })
    }

    /// A place at an upstream that was not tried, now or after a wait in the queue.
    pub(crate) async fn place(&self, tried: &[usize]) -> Result<Lease, Fault> {
        if let Some(lease) = self.try_place(tried)? {
            return Ok(lease);
        }
        let limits = &self.plan.limits;
        if !take_place(&self.load.waiting, limits.queue) {
            return Err(Fault::QueueFull { retry_after_s: limits.queue_wait.as_secs() });
        }
        let waiting = Waiting(&self.load);
        let waited = timeout(limits.queue_wait, self.wait_for_place(tried)).await;
        drop(waiting);
        waited.unwrap_or(Err(Fault::QueueSlow { retry_after_s: limits.queue_wait.as_secs() }))
    }

    async fn wait_for_place(&self, tried: &[usize]) -> Result<Lease, Fault> {
        loop {
            // Enlisted before looking, so that a place freed in between is not missed.
            let mut freed = std::pin::pin!(self.load.freed.notified());
            freed.as_mut().enable();
            if let Some(lease) = self.try_place(tried)? {
                return Ok(lease);
            }
            freed.await;
        }
    }

    /// A place at a handler of this process, for a request that another front end sent here.
    pub(crate) fn place_here(&self) -> Here {
        let is_here = |upstream: &UpstreamState| upstream.plan.endpoint.is_local();
        let standing = |upstream: &UpstreamState| upstream.candidate(false).standing;
        let mut here = (self.upstreams.iter().enumerate())
            .filter(|(_, upstream)| is_here(upstream) && standing(upstream) != Standing::Out)
            .peekable();
        if here.peek().is_none() {
            return Here::Nobody;
        }
        here.find_map(|(index, _)| self.take(index)).map_or(Here::Full, Here::Lease)
    }

    /// None if all are full.
    fn try_place(&self, tried: &[usize]) -> Result<Option<Lease>, Fault> {
        let candidate = |(index, upstream): (usize, &UpstreamState)| upstream.candidate(tried.contains(&index));
        let picked = match &self.upstreams[..] {
            [only] => pick(&[candidate((0, only))], [0, 0]),
            several => {
                let candidates: Vec<Candidate> = several.iter().enumerate().map(candidate).collect();
                pick(&candidates, [fastrand::u32(..), fastrand::u32(..)])
            }
        };
        match picked {
            Pick::Take(index) => Ok(self.take(index)),
            Pick::Full => Ok(None),
            Pick::Nobody => Err(Fault::NoUpstream { retry_after_s: 1 }),
        }
    }

    /// None if another loop was quicker.
    fn take(&self, index: usize) -> Option<Lease> {
        let upstream = &self.upstreams[index];
        if !take_place(&upstream.load.outstanding, upstream.plan.requests) {
            return None;
        }
        upstream.load.given.fetch_add(1, Relaxed);
        Some(Lease { upstream: Arc::clone(&upstream.load), release: Arc::clone(&self.load), index })
    }
}
