//! Instances of 0.3 components that serve several requests at once.
//!
//! Such an instance has a task of its own, on the runtime of the caller that made it; requests are handed to it by a
//! bounded channel. A trap ends all requests in it. A caller that goes away cannot take its request back, as a guest's
//! task cannot be cancelled: the instance takes no further requests, and ends when nobody waits for any in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::AbortHandle;
use wasmtime_wasi_http::WasiBody;

use crate::call::Call;
use crate::cell::Cell;
use crate::fault::Fault;
use crate::head::HeadSender;
use crate::pulse::Pulse;
use crate::refusal::Refusal;
use crate::run::{End, Run};
use crate::service::Inner;

/// A request for an instance that serves others as well.
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) request: http::Request<WasiBody>,
    pub(crate) head: HeadSender,
    pub(crate) seat: OwnedSemaphorePermit,
}

/// The instances that take requests.
#[derive(Default)]
pub(crate) struct Crowd {
    open: Mutex<Vec<Arc<Member>>>,
}

/// One instance.
pub(crate) struct Member {
    state: Mutex<State>,
}

struct State {
    /// None once no more requests are taken.
    jobs: Option<mpsc::Sender<Job>>,
    /// Requests that may still be taken.
    left: u32,
    next: u64,
    /// Who waits for the end of which request.
    waiting: HashMap<u64, oneshot::Sender<Result<(), Fault>>>,
    /// Places that are about to be taken.
    reserved: usize,
    /// Requests whose callers are gone.
    abandoned: usize,
    /// Since when there is no request.
    idle: Option<Instant>,
    task: Option<AbortHandle>,
}

/// A caller's hold on its request.
pub(crate) struct Beside {
    member: Arc<Member>,
    id: u64,
    pub(crate) over: oneshot::Receiver<Result<(), Fault>>,
}

impl Crowd {
    /// Hands a request to an instance with room, or to a new one.
    pub(crate) async fn take(
        &self,
        service: &Arc<Inner>,
        request: http::Request<WasiBody>,
        head: HeadSender,
        seat: OwnedSemaphorePermit,
    ) -> Result<Beside, Refusal> {
        let member = match self.with_room(service.limits.concurrency) {
            Some(member) => member,
            None => self.grow(service, service.lease().await?),
        };
        Ok(member.hand(request, head, seat))
    }

    /// Reserves a place in an instance. Those at the end of the list are full least often: the others become idle.
    fn with_room(&self, concurrency: usize) -> Option<Arc<Member>> {
        let mut open = self.open.lock();
        open.retain(|member| member.is_open());
        open.iter().find(|member| member.reserve(concurrency)).cloned()
    }

    fn grow(&self, service: &Arc<Inner>, lease: OwnedSemaphorePermit) -> Arc<Member> {
        let (sender, jobs) = mpsc::channel(service.limits.concurrency.max(1));
        let member = Arc::new(Member { state: Mutex::new(State::new(sender, service.draw_reuse())) });
        member.reserve(usize::MAX);
        let pulse = Arc::new(service.pulse());
        let work = Box::pin(work(Arc::clone(service), Arc::clone(&pulse), lease, jobs, Arc::clone(&member)));
        let mut call = Call::new(Run::new(work, pulse), Arc::clone(service));
        let task = tokio::spawn(async move {
            std::future::poll_fn(|context| call.poll(context).map(drop)).await;
        });
        member.state.lock().task = Some(task.abort_handle());
        self.open.lock().push(Arc::clone(&member));
        member
    }

    /// Has instances end that have been idle for so long.
    pub(crate) fn sweep(&self, limit: Duration) {
        let mut open = self.open.lock();
        open.iter().filter(|member| member.is_idle(limit)).for_each(|member| member.close());
        open.retain(|member| member.is_open());
    }

    /// Has an idle instance end, if there is one. Its slots are free a little later.
    pub(crate) fn drop_idle(&self) {
        let open = self.open.lock();
        if let Some(member) = open.iter().find(|member| member.is_idle(Duration::ZERO)) {
            member.close();
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.open.lock().iter().for_each(|member| member.close());
    }
}

impl State {
    fn new(jobs: mpsc::Sender<Job>, left: u32) -> Self {
        Self {
            jobs: Some(jobs),
            left,
            next: 0,
            waiting: HashMap::new(),
            reserved: 0,
            abandoned: 0,
            idle: None,
            task: None,
        }
    }

    /// Ends the task when nobody waits for what it does.
    fn end_if_abandoned(&self) {
        if self.abandoned > 0
            && self.reserved == 0
            && self.waiting.is_empty()
            && let Some(task) = &self.task
        {
            task.abort();
        }
    }
}

impl Member {
    fn is_open(&self) -> bool {
        self.state.lock().jobs.is_some()
    }

    fn is_idle(&self, limit: Duration) -> bool {
        self.state.lock().idle.is_some_and(|since| since.elapsed() >= limit)
    }

    fn close(&self) {
        self.state.lock().jobs = None;
    }

    /// Makes room for one more request, if there is some.
    fn reserve(&self, concurrency: usize) -> bool {
        let mut state = self.state.lock();
        let active = state.waiting.len() + state.reserved + state.abandoned;
        let room = state.jobs.is_some() && state.left > 0 && active < concurrency;
        if room {
            state.left -= 1;
            state.reserved += 1;
            state.idle = None;
        }
        room
    }

    /// Hands over a request whose place was reserved.
    fn hand(self: Arc<Self>, request: http::Request<WasiBody>, head: HeadSender, seat: OwnedSemaphorePermit) -> Beside {
        let (over, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let id = state.next;
        state.reserved -= 1;
        state.next += 1;
        state.waiting.insert(id, over);
        // An instance that is gone takes nothing: its request is found to be lost.
        let sent = state.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Job { id, request, head, seat }).is_ok());
        if !sent {
            state.waiting.remove(&id);
        }
        if state.left == 0 {
            state.jobs = None;
        }
        drop(state);
        Beside { member: self, id, over: receiver }
    }

    /// A request is over.
    pub(crate) fn done(&self, id: u64) {
        let mut state = self.state.lock();
        match state.waiting.remove(&id) {
            Some(over) => {
                let _ = over.send(Ok(()));
            }
            None => state.abandoned = state.abandoned.saturating_sub(1),
        }
        if state.waiting.is_empty() && state.reserved + state.abandoned == 0 {
            state.idle = Some(Instant::now());
        }
        state.end_if_abandoned();
    }

    /// The instance is over, and with it all its requests.
    fn end(&self, result: &Result<(), Fault>) {
        let mut state = self.state.lock();
        state.jobs = None;
        for (_, over) in state.waiting.drain() {
            let _ = over.send(result.clone());
        }
    }

    fn abandon(&self, id: u64) {
        let mut state = self.state.lock();
        if state.waiting.remove(&id).is_some() {
            state.jobs = None;
            state.abandoned += 1;
            state.end_if_abandoned();
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.member.abandon(self.id);
    }
}

/// Tells callers that their instance is gone, should its task be dropped.
struct Mourner(Arc<Member>);

impl Drop for Mourner {
    fn drop(&mut self) {
        self.0.end(&Err(Fault::lost()));
    }
}

async fn work(
    service: Arc<Inner>,
    pulse: Arc<Pulse>,
    lease: OwnedSemaphorePermit,
    jobs: mpsc::Receiver<Job>,
    member: Arc<Member>,
) -> End {
    let mourner = Mourner(Arc::clone(&member));
    let mut cell = match Cell::make(service, pulse, lease).await {
        Ok(cell) => cell,
        Err(fault) => {
            let result = Err(fault);
            member.end(&result);
            return End::new(result, None);
        }
    };
    let result = cell.serve_many(jobs, &member).await;
    // Before the store goes, whose end looks like the end of every body in it.
    member.end(&result);
    drop(mourner);
    drop(cell);
    End::new(result, None)
}
