//! Instances of 0.3 components that serve several requests at once.
//!
//! Such an instance has a task of its own, on the runtime of the caller that made it; requests are handed to it by a
//! bounded channel. A trap ends all requests in it. A caller that goes away cannot take its request back, as a guest's
//! task cannot be cancelled: the instance takes no further requests, and ends when nobody waits for any in it, or a
//! while later when somebody does.

mod member;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use wasmtime_wasi_http::WasiBody;

use crate::call::Call;
use crate::cell::Cell;
use crate::fault::Fault;
use crate::head::HeadSender;
use crate::pulse::Pulse;
use crate::refusal::Refusal;
use crate::run::{End, Run};
use crate::service::Inner;
use member::Clock;
pub(crate) use member::{Beside, Member};

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
        let member = Arc::new(Member::new(sender, service.draw_reuse(), service.limits.afterwards));
        member.reserve(usize::MAX);
        let pulse = Arc::new(service.pulse());
        let work = Box::pin(work(Arc::clone(service), Arc::clone(&pulse), lease, jobs, Arc::clone(&member)));
        let call = Call::new(Run::new(work, pulse), Arc::clone(service));
        tokio::spawn(attend(call, Arc::clone(&member), service.limits.afterwards));
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

/// Runs an instance to its end, or to the end of its time.
async fn attend(mut call: Call, member: Arc<Member>, afterwards: Duration) {
    let mut clock = Clock::default();
    let in_time = std::future::poll_fn(|context| match call.poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending => member.poll_end(&mut clock, context).map(|()| false),
    });
    if !in_time.await {
        // Before the store goes, as at any other end.
        member.end(&Err(Fault::outstayed(afterwards)));
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
