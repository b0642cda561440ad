//! Instances of 0.3 components that serve several requests at once.
//!
//! Such an instance has a task of its own, on the runtime of the caller that made it; requests are handed to it by a
//! bounded channel. A trap ends all requests in it. A caller that goes away cannot take its request back, as a guest's
//! task cannot be cancelled: the instance takes no further requests, and ends when nobody waits for any in it. Until then
//! the request keeps its seat, as one that is served.

mod member;
mod room;

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
use crate::refusal::Refusal;
use crate::run::{End, Run};
use crate::service::Inner;
use crate::slots::Lease;
use member::Clock;
pub(crate) use member::{Beside, Member, Reserved};
use room::{Place, Room};

/// A request for an instance that serves others as well.
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) request: http::Request<WasiBody>,
    pub(crate) head: HeadSender,
    pub(crate) seat: OwnedSemaphorePermit,
}

/// The instances that take requests, within the number that there may be.
pub(crate) struct Crowd {
    open: Mutex<Vec<Arc<Member>>>,
    room: Arc<Room>,
}

/// Where a request goes.
enum Found {
    Member(Reserved),
    Place(Place),
}

impl Crowd {
    /// For so many instances.
    pub(crate) fn new(instances: usize) -> Self {
        Self { open: Mutex::default(), room: Room::new(instances) }
    }

    /// Finds an instance with room for a request, or makes a new one.
    pub(crate) async fn find(&self, service: &Arc<Inner>) -> Result<Reserved, Refusal> {
        let found = match self.look(service) {
            Some(found) => found,
            None => service.in_queue(self.room.wait_for(|| self.look(service))).await?,
        };
        let place = match found {
            Found::Member(reserved) => return Ok(reserved),
            Found::Place(place) => place,
        };
        // While it waits for slots an instance may get room.
        let with_room = self.room.wait_beside(|| self.with_room(service.limits.concurrency));
        tokio::select! {
            biased;
            lease = service.lease() => Ok(self.grow(service, lease?, place)),
            reserved = with_room => Ok(reserved),
        }
    }

    fn look(&self, service: &Inner) -> Option<Found> {
        let member = self.with_room(service.limits.concurrency).map(Found::Member);
        member.or_else(|| self.room.take().map(Found::Place))
    }

    /// Reserves a place in an instance. Those at the end of the list are full least often: the others become idle.
    fn with_room(&self, concurrency: usize) -> Option<Reserved> {
        let mut open = self.open.lock();
        open.retain(|member| member.is_open());
        open.iter().find_map(|member| member.reserve(concurrency))
    }

    fn grow(&self, service: &Arc<Inner>, lease: Lease, place: Place) -> Reserved {
        let (sender, jobs) = mpsc::channel(service.limits.concurrency.max(1));
        let member =
            Arc::new(Member::new(sender, service.draw_reuse(), service.limits.afterwards, Arc::clone(&self.room)));
        let reserved = member.reserve(usize::MAX).expect("a new instance takes at least one request");
        let pulse = Arc::new(service.pulse());
        let made = Cell::make(Arc::clone(service), Arc::clone(&pulse), lease);
        let work = Box::pin(work(place, made, jobs, Arc::clone(&member)));
        let call = Call::new(Run::new(work, pulse), Arc::clone(service));
        tokio::spawn(attend(call, Arc::clone(&member)));
        self.open.lock().push(member);
        reserved
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

/// Runs an instance to its end, or to the end of its time, when nobody waits for it.
async fn attend(mut call: Call, member: Arc<Member>) {
    let mut clock = Clock::default();
    std::future::poll_fn(|context| match call.poll(context) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => member.poll_end(&mut clock, context),
    })
    .await;
}

/// Tells callers that their instance is gone, should its task be dropped.
struct Mourner(Arc<Member>);

impl Drop for Mourner {
    fn drop(&mut self) {
        self.0.end(&Err(Fault::lost()));
    }
}

/// What an instance does. Its place is the last that it gives back.
async fn work(
    _place: Place,
    made: impl Future<Output = Result<Cell, Fault>>,
    jobs: mpsc::Receiver<Job>,
    member: Arc<Member>,
) -> End {
    let mourner = Mourner(Arc::clone(&member));
    let mut cell = match made.await {
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
