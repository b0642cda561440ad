//! An instance that serves several requests at once, as its callers see it: who waits for what, and until when it may
//! go on.
//!
//! An instance that takes no more requests is over when nobody waits for it. A guest that goes on nevertheless may do so
//! for the service's `afterwards`; then its instance ends. wasmtime cannot tell a task that answered and will exit from
//! one that never will. A request whose caller is gone goes on beside those that others wait for, however long they do:
//! nobody is to lose an answer because somebody else went away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Job;
use super::room::Room;
use crate::fault::Fault;
use crate::head::HeadSender;
use wasmtime_wasi_http::WasiBody;

/// One instance.
pub(crate) struct Member {
    state: Mutex<State>,
    /// How long the guest may go on when nobody waits for it.
    afterwards: Duration,
    /// The task, which is to look at the end anew.
    task: AtomicWaker,
    /// Where requests wait for room.
    room: Arc<Room>,
}

struct State {
    /// None once no more requests come.
    jobs: Option<mpsc::Sender<Job>>,
    /// No more places are reserved; requests for those that are reserved still come.
    closed: bool,
    /// Requests that may still be taken.
    left: u32,
    next: u64,
    /// Who waits for the end of which request.
    waiting: HashMap<u64, oneshot::Sender<Result<(), Fault>>>,
    /// Places that are about to be taken.
    reserved: usize,
    /// Requests whose callers are gone.
    abandoned: HashSet<u64>,
    /// When the last one was done that somebody waited for.
    served: Option<Instant>,
    /// Since when there is no request.
    idle: Option<Instant>,
    /// Since when nobody waits, nor will.
    unwanted: Option<Instant>,
}

/// A caller's hold on its request.
pub(crate) struct Beside {
    member: Arc<Member>,
    id: u64,
    pub(crate) over: oneshot::Receiver<Result<(), Fault>>,
}

/// Until when an instance may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until it is over.
    Over,
    /// Until then at the latest.
    Then(Instant),
    /// No longer.
    Now,
}

impl State {
    /// Notes whether requests still come, and whether the instance is still wanted.
    fn settle(&mut self) {
        self.closed |= self.left == 0 && self.reserved == 0;
        if self.closed && self.reserved == 0 {
            self.jobs = None;
        }
        if self.jobs.is_none() && self.waiting.is_empty() && self.reserved == 0 {
            self.unwanted.get_or_insert_with(Instant::now);
        }
    }

    /// Notes whether there is no request any more, and says it.
    fn rest(&mut self) -> bool {
        let rests = self.waiting.is_empty() && self.reserved + self.abandoned.len() == 0;
        if rests {
            self.idle = Some(Instant::now());
        }
        rests
    }

    fn until(&self, afterwards: Duration) -> Until {
        // Somebody waits, or may.
        let Some(unwanted) = self.unwanted else { return Until::Over };
        let since = if self.abandoned.is_empty() { Some(unwanted) } else { self.served };
        match since {
            Some(since) => since.checked_add(afterwards).map_or(Until::Over, Until::Then),
            // What is left to do is for nobody, and never was.
            None => Until::Now,
        }
    }
}

impl Member {
    /// An instance that takes `left` requests from the other end of `jobs`.
    pub(super) fn new(jobs: mpsc::Sender<Job>, left: u32, afterwards: Duration, room: Arc<Room>) -> Self {
        let state = State {
            jobs: Some(jobs),
            closed: false,
            left,
            next: 0,
            waiting: HashMap::new(),
            reserved: 0,
            abandoned: HashSet::new(),
            served: None,
            idle: None,
            unwanted: None,
        };
        Self { state: Mutex::new(state), afterwards, task: AtomicWaker::new(), room }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.state.lock().closed
    }

    /// Whether it takes requests, and has had none for so long.
    pub(super) fn is_idle(&self, limit: Duration) -> bool {
        let state = self.state.lock();
        !state.closed && state.idle.is_some_and(|since| since.elapsed() >= limit)
    }

    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Makes room for one more request, if there is some.
    pub(super) fn reserve(self: &Arc<Self>, concurrency: usize) -> Option<Reserved> {
        let mut state = self.state.lock();
        let active = state.waiting.len() + state.reserved + state.abandoned.len();
        let room = !state.closed && state.left > 0 && active < concurrency;
        if room {
            state.left -= 1;
            state.reserved += 1;
            state.idle = None;
        }
        room.then(|| Reserved(Some(Arc::clone(self))))
    }

    fn hand(self: Arc<Self>, request: http::Request<WasiBody>, head: HeadSender, seat: OwnedSemaphorePermit) -> Beside {
        let (over, receiver) = oneshot::channel();
        let id = self.change(|state| {
            let id = state.next;
            state.reserved -= 1;
            state.next += 1;
            state.waiting.insert(id, over);
            // An instance that is gone takes nothing: its request is found to be lost.
            let sent = state.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Job { id, request, head, seat }).is_ok());
            if !sent {
                state.waiting.remove(&id);
            }
            id
        });
        Beside { member: self, id, over: receiver }
    }

    /// A request is over. `may_idle` says whether nobody needs the instance's slots.
    pub(crate) fn done(&self, id: u64, may_idle: impl FnOnce() -> bool) {
        self.change(|state| {
            if let Some(over) = state.waiting.remove(&id) {
                state.served = Some(Instant::now());
                let _ = over.send(Ok(()));
            }
            state.abandoned.remove(&id);
            // Asked under the lock: who waits for slots looks here once more after it is known to wait.
            if state.rest() && !may_idle() {
                state.closed = true;
            }
        });
        self.room.change();
    }

    /// Room that was reserved is not used.
    fn give_back(&self) {
        self.change(|state| {
            state.reserved -= 1;
            state.left += 1;
            state.rest();
        });
        self.room.change();
    }

    /// The instance is over, and with it all its requests.
    pub(super) fn end(&self, result: &Result<(), Fault>) {
        let mut state = self.state.lock();
        state.closed = true;
        state.jobs = None;
        for (_, over) in state.waiting.drain() {
            let _ = over.send(result.clone());
        }
    }

    /// Ready when the instance must end, whatever its guest does. `clock` is the caller's, for this alone.
    pub(super) fn poll_end(&self, clock: &mut Clock, context: &mut Context<'_>) -> Poll<()> {
        self.task.register(context.waker());
        let until = self.state.lock().until(self.afterwards);
        match until {
            Until::Over => Poll::Pending,
            Until::Now => Poll::Ready(()),
            Until::Then(instant) => clock.poll(instant, context),
        }
    }

    fn abandon(&self, id: u64) {
        self.change(|state| {
            if state.waiting.remove(&id).is_some() {
                state.closed = true;
                state.abandoned.insert(id);
            }
        });
    }

    /// Changes the state, and has the task look when its end may be another.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let before = state.until(self.afterwards);
        let changed = change(&mut state);
        state.settle();
        let same = state.until(self.afterwards) == before;
        drop(state);
        if !same {
            self.task.wake();
        }
        changed
    }
}

/// Room for one request.
pub(crate) struct Reserved(Option<Arc<Member>>);

impl Reserved {
    /// Hands the request over.
    pub(crate) fn hand(
        mut self,
        request: http::Request<WasiBody>,
        head: HeadSender,
        seat: OwnedSemaphorePermit,
    ) -> Beside {
        self.0.take().expect("it is there until it is used or dropped").hand(request, head, seat)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(member) = self.0.take() {
            member.give_back();
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.member.abandon(self.id);
    }
}

/// A clock that is wound when it is needed: most instances are over before.
#[derive(Default)]
pub(super) struct Clock(Option<std::pin::Pin<Box<tokio::time::Sleep>>>);

impl Clock {
    fn poll(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let until = tokio::time::Instant::from_std(until);
        let clock = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if clock.deadline() != until {
            clock.as_mut().reset(until);
        }
        clock.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::{BodyExt as _, Empty};
    use tokio::sync::Semaphore;

    use super::*;

    fn member(left: u32) -> (Arc<Member>, mpsc::Receiver<Job>) {
        let (sender, jobs) = mpsc::channel(8);
        (Arc::new(Member::new(sender, left, Duration::ZERO, Room::new(1))), jobs)
    }

    fn hand(reserved: Reserved) -> Beside {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let seat = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("it is the only one");
        reserved.hand(http::Request::new(body), oneshot::channel().0, seat)
    }

    /// As many requests as were reserved come, and then no more.
    fn takes(jobs: &mut mpsc::Receiver<Job>, requests: usize) {
        (0..requests).for_each(|_| drop(jobs.try_recv().expect("a request")));
        assert_eq!(jobs.try_recv().err(), Some(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn the_last_requests_are_taken_in_whatever_order_they_come() {
        let (member, mut jobs) = member(2);
        let [one, other] = [8, 8].map(|most| member.reserve(most).expect("room"));
        assert!(member.reserve(8).is_none());
        let _first = hand(other);
        let _second = hand(one);
        assert!(!member.is_open());
        takes(&mut jobs, 2);
    }

    #[test]
    fn who_goes_away_takes_no_place_from_those_that_have_one() {
        let (member, mut jobs) = member(9);
        let first = hand(member.reserve(8).expect("room"));
        let reserved = member.reserve(8).expect("room");
        drop(first);
        assert!(member.reserve(8).is_none());
        let _second = hand(reserved);
        takes(&mut jobs, 2);
    }

    #[test]
    fn a_place_that_is_given_back_is_there_for_another() {
        let (member, mut jobs) = member(1);
        drop(member.reserve(8));
        let _only = hand(member.reserve(8).expect("room"));
        takes(&mut jobs, 1);
    }
}
