//! How many calls may be under way: of a service, and of each of its instances.
//!
//! A call that finds no place waits in turn, first for one of its instance and then for one of its service, so that an
//! instance with too many keeps no others from theirs. Beyond a number of calls that wait, one more is refused at once.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admission::acquire;

/// Calls of one instance that are under way at once.
const OF_INSTANCE: usize = 64;
/// How many times as many calls of a service may wait as of one instance.
const QUEUES: usize = 4;

/// Places of calls, and of those that wait for one.
#[derive(Clone)]
struct Places {
    under_way: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Places {
    fn new(under_way: usize, waiting: usize) -> Self {
        let places = |number: usize| Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS)));
        Self { under_way: places(under_way), waiting: places(waiting) }
    }
}

/// Calls of a service.
pub(crate) struct ServiceCalls {
    places: Places,
    /// Calls of one instance that may wait.
    queue: usize,
}

impl ServiceCalls {
    /// So many may be under way, and of each instance so many may wait: none where none may ever go out.
    pub(crate) fn new(under_way: usize, queue: usize) -> Self {
        let queue = if under_way == 0 { 0 } else { queue };
        Self { places: Places::new(under_way, queue.saturating_mul(QUEUES)), queue }
    }
}

/// Calls of one instance, each of which is one of its service as well.
pub(crate) struct Calls {
    instance: Places,
    service: Places,
}

/// A call's place among those that its instance and its service may have at once, until this is dropped.
pub(crate) struct Place {
    _instance: OwnedSemaphorePermit,
    _service: OwnedSemaphorePermit,
}

/// A call that is let go on, now or in its turn.
pub(super) enum Admitted {
    Now(Place),
    InTurn(Turn),
}

/// A call that waits. Its turn is that of its beginning, not of its first poll: a guest that reads one answer after
/// another is not to wait for one whose place a later call has.
pub(super) struct Turn {
    place: Pin<Box<dyn Future<Output = Place> + Send>>,
    _waiting: [OwnedSemaphorePermit; 2],
}

impl Calls {
    /// For a new instance of a service.
    pub(crate) fn new(service: &ServiceCalls) -> Self {
        Self { instance: Places::new(OF_INSTANCE, service.queue), service: service.places.clone() }
    }

    /// None when too many wait already.
    pub(super) fn admit(&self) -> Option<Admitted> {
        let (instance, service) = (&self.instance, &self.service);
        if let Some(of_instance) = try_take(&instance.under_way)
            && let Some(of_service) = try_take(&service.under_way)
        {
            return Some(Admitted::Now(Place { _instance: of_instance, _service: of_service }));
        }
        let waiting = [try_take(&instance.waiting)?, try_take(&service.waiting)?];
        let mut place = Box::pin(next_place(Arc::clone(&instance.under_way), Arc::clone(&service.under_way)));
        Some(match place.as_mut().now_or_never() {
            Some(place) => Admitted::Now(place),
            None => Admitted::InTurn(Turn { place, _waiting: waiting }),
        })
    }
}

async fn next_place(of_instance: Arc<Semaphore>, of_service: Arc<Semaphore>) -> Place {
    let of_instance = acquire(of_instance, 1).await;
    Place { _instance: of_instance, _service: acquire(of_service, 1).await }
}

impl Turn {
    /// Waits for a place. Dropping the future gives the turn up.
    pub(super) async fn place(self) -> Place {
        self.place.await
    }
}

fn try_take(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).try_acquire_owned().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(calls: &Calls) -> Place {
        match calls.admit() {
            Some(Admitted::Now(place)) => place,
            _ => panic!("there is a place"),
        }
    }

    fn turn(calls: &Calls) -> Turn {
        match calls.admit() {
            Some(Admitted::InTurn(turn)) => turn,
            _ => panic!("it may wait, and has to"),
        }
    }

    #[test]
    fn an_instance_may_not_have_all_calls_of_its_service_nor_all_that_may_wait() {
        let service = ServiceCalls::new(2 * OF_INSTANCE, 3);
        let [one, other] = [(); 2].map(|()| Calls::new(&service));
        let mut places: Vec<_> = (0..OF_INSTANCE).map(|_| now(&one)).collect();
        let turns: Vec<_> = (0..3).map(|_| turn(&one)).collect();
        assert!(one.admit().is_none(), "one more than may wait");
        places.extend((0..OF_INSTANCE).map(|_| now(&other)));
        let _turn = turn(&other);
        drop(turns);
        let _turn = turn(&one);
    }

    #[test]
    fn so_many_calls_of_a_service_wait_and_not_one_more() {
        let service = ServiceCalls::new(1, 2);
        let instances: Vec<_> = (0..=QUEUES).map(|_| Calls::new(&service)).collect();
        let _only = now(&instances[0]);
        let turns: Vec<_> = instances[..QUEUES].iter().flat_map(|calls| [turn(calls), turn(calls)]).collect();
        assert_eq!(turns.len(), 2 * QUEUES);
        assert!(instances[QUEUES].admit().is_none());
    }

    #[test]
    fn where_no_call_may_go_out_none_waits() {
        assert!(Calls::new(&ServiceCalls::new(0, 2)).admit().is_none());
    }

    #[test]
    fn calls_have_the_places_that_become_free_in_their_turn() {
        let service = ServiceCalls::new(1, 8);
        let calls = Calls::new(&service);
        let first = now(&calls);
        // In the order of their beginning, whichever is polled first.
        let mut turns = [(); 3].map(|()| Box::pin(turn(&calls).place()));
        assert!(turns.iter_mut().rev().all(|turn| turn.as_mut().now_or_never().is_none()));
        drop(first);
        let [second, third, fourth] = &mut turns;
        assert!(calls.admit().is_some_and(|admitted| matches!(admitted, Admitted::InTurn(_))), "nobody passes others");
        assert!(third.as_mut().now_or_never().is_none());
        let place = second.as_mut().now_or_never().expect("its turn");
        assert!(fourth.as_mut().now_or_never().is_none());
        drop(place);
        assert!(third.as_mut().now_or_never().is_some());
    }
}
