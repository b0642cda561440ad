//! A release as it runs: its upstreams with their loads, and the queue before them.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

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
            is_first: self.plan.endpoint.is_local() && !self.is_busy(),
            standing,
        }
    }

    /// Whether a request would have to wait there.
    pub(crate) fn is_busy(&self) -> bool {
        self.load.outstanding.load(Relaxed) >= self.plan.requests.saturating_sub(self.plan.queue)
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

impl Drop for ReleaseState {
    fn drop(&mut self) {
        self.load.plans.fetch_sub(1, SeqCst);
    }
}

impl ReleaseState {
    pub(crate) fn new(service: Arc<str>, plan: Release, upstreams: Vec<UpstreamState>, load: Arc<ReleaseLoad>) -> Self {
        load.plans.fetch_add(1, SeqCst);
        Self { service, plan, load, upstreams }
    }

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

    /// Each place that becomes free wakes one who waits. If there is none in it for that one, because it tried that
    /// upstream, or does not see it in its plan, the next one is woken, until it is taken or all have looked.
    async fn wait_for_place(&self, tried: &[usize]) -> Result<Lease, Fault> {
        let mut looked = None;
        let mut is_woken = false;
        loop {
            // Enlisted before looking, so that a place freed in between is not missed.
            let mut freed = std::pin::pin!(self.load.freed.notified());
            freed.as_mut().enable();
            fence(SeqCst);
            let count = self.load.freed_count.load(SeqCst);
            match self.try_place(tried) {
                Ok(Some(lease)) => return Ok(lease),
                missed => {
                    if is_woken && looked != Some(count) && self.may_have_room() {
                        self.load.freed.notify_one();
                    }
                    missed?;
                }
            }
            looked = Some(count);
            freed.await;
            is_woken = true;
        }
    }

    /// Whether there may be a place for someone else. If not, another request was quicker.
    fn may_have_room(&self) -> bool {
        let has_room = |upstream: &UpstreamState| upstream.load.outstanding.load(Relaxed) < upstream.plan.requests;
        self.upstreams.iter().any(has_room) || self.load.plans.load(SeqCst) > 1
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::AtomicU32;
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;
    use crate::plan::ReleaseLimits;

    /// With upstreams of these names, each of which has one place.
    fn release(names: &[&str], load: &Arc<ReleaseLoad>, loads: &[Arc<UpstreamLoad>]) -> ReleaseState {
        let endpoint = Endpoint::Tcp("127.0.0.1:9".parse().unwrap());
        let upstream = |(name, load): (&&str, &Arc<UpstreamLoad>)| UpstreamState {
            plan: Upstream { requests: 1, ..Upstream::new(*name, endpoint.clone()) },
            address: Address::of(&endpoint),
            load: Arc::clone(load),
        };
        let upstreams: Vec<UpstreamState> = names.iter().zip(loads).map(upstream).collect();
        let plan = Release {
            version: "1.0.0".parse().unwrap(),
            upstreams: upstreams.iter().map(|upstream| upstream.plan.clone()).collect(),
            limits: ReleaseLimits::default(),
            health: None,
        };
        ReleaseState::new("test/one".into(), plan, upstreams, Arc::clone(load))
    }

    fn loads() -> [Arc<UpstreamLoad>; 2] {
        [(); 2].map(|()| Arc::new(UpstreamLoad::new(true)))
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Someone who waits, polled by hand.
    struct Waiter<'a> {
        placing: Pin<Box<dyn Future<Output = Result<Lease, Fault>> + 'a>>,
        lease: Option<Lease>,
        woken: Arc<Woken>,
    }

    impl<'a> Waiter<'a> {
        fn begin(release: &'a ReleaseState, tried: &'a [usize]) -> Self {
            let mut waiter = Self { placing: Box::pin(release.place(tried)), lease: None, woken: Arc::default() };
            assert!(waiter.poll().is_none(), "nothing is free");
            waiter
        }

        fn poll(&mut self) -> Option<Result<usize, Fault>> {
            let waker = Waker::from(Arc::clone(&self.woken));
            let Poll::Ready(placed) = self.placing.as_mut().poll(&mut Context::from_waker(&waker)) else { return None };
            Some(placed.map(|lease| self.lease.insert(lease).index))
        }

        fn take_woken(&self) -> bool {
            self.woken.0.swap(0, Relaxed) > 0
        }
    }

    /// Polls those who are woken, in turns, until nobody is. Who ended, and with a place at which upstream.
    fn settle(waiters: &mut [Waiter<'_>]) -> Vec<(usize, Result<usize, Fault>)> {
        let mut ended = Vec::new();
        for _ in 0..100 {
            let woken: Vec<usize> = (0..waiters.len()).filter(|at| waiters[*at].take_woken()).collect();
            if woken.is_empty() {
                return ended;
            }
            ended.extend(woken.into_iter().filter_map(|at| waiters[at].poll().map(|placed| (at, placed))));
        }
        panic!("they wake each other without an end");
    }

    fn run(test: impl FnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        test();
    }

    #[test]
    fn who_cannot_use_a_place_that_became_free_wakes_who_can() {
        run(|| {
            let release = release(&["a", "b"], &Arc::default(), &loads());
            let [a, _b] = [0, 1].map(|index| release.take(index));
            let mut waiters = [&[0][..], &[0], &[]].map(|tried| Waiter::begin(&release, tried));
            drop(a);
            assert_eq!(settle(&mut waiters), [(2, Ok(0))]);
        });
    }

    #[test]
    fn a_place_that_nobody_can_use_is_looked_at_once_by_each_and_not_lost() {
        run(|| {
            let release = release(&["a", "b"], &Arc::default(), &loads());
            let [a, b] = [0, 1].map(|index| release.take(index));
            let mut waiters = [&[0][..], &[0], &[0]].map(|tried| Waiter::begin(&release, tried));
            drop(a);
            assert_eq!(settle(&mut waiters), []);
            drop(b);
            assert_eq!(settle(&mut waiters).len(), 1);
        });
    }

    #[test]
    fn who_leaves_as_there_is_nobody_left_for_it_wakes_the_next() {
        run(|| {
            let loads = loads();
            let release = release(&["a", "b"], &Arc::default(), &loads);
            let [a, _b] = [0, 1].map(|index| release.take(index));
            let mut waiters = [&[0][..], &[]].map(|tried| Waiter::begin(&release, tried));
            loads[1].is_well.store(false, Relaxed);
            drop(a);
            let ended = settle(&mut waiters);
            assert_eq!(ended, [(0, Err(Fault::NoUpstream { retry_after_s: 1 })), (1, Ok(0))]);
        });
    }

    #[test]
    fn a_place_of_another_plan_goes_to_who_sees_it() {
        run(|| {
            let (load, loads) = (Arc::default(), loads());
            let older = release(&["a", "b"], &load, &loads);
            let newer = release(&["b"], &load, &loads[1..]);
            let [a, _b] = [0, 1].map(|index| older.take(index));
            let mut waiters = [Waiter::begin(&newer, &[]), Waiter::begin(&older, &[])];
            drop(a);
            assert_eq!(settle(&mut waiters), [(1, Ok(0))]);
        });
    }

    #[test]
    fn a_place_that_another_request_took_meanwhile_wakes_nobody_else() {
        run(|| {
            let release = release(&["a"], &Arc::default(), &loads());
            let mut lease = release.take(0);
            let mut waiters = [&[][..], &[]].map(|tried| Waiter::begin(&release, tried));
            for _ in 0..3 {
                drop(lease);
                lease = release.take(0);
                assert!(lease.is_some());
                let woken = waiters.iter_mut().filter(|waiter| waiter.take_woken());
                let polled: Vec<_> = woken.map(Waiter::poll).collect();
                assert_eq!(polled, [None]);
                assert!(!waiters.iter().any(Waiter::take_woken));
            }
        });
    }
}
