//! Turns in the background: services share its threads, however many guests each has there.
//!
//! tokio's queue is one for all tasks. A service with a thousand guests that spin would have a thousand parts of it beside
//! the one of a neighbour. So a guest is in that queue only with one of its service's few turns, which it gives back after
//! each slice, to the guest of its service that has waited longest.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admission::acquire;

/// A service's turns: as many of its guests may run, or wait for a thread, at once.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// What a guest waits for its turns with.
    pub(crate) fn taker(&self) -> Taker {
        Taker { turns: self.clone(), awaited: None, taken: None }
    }
}

/// One guest's.
pub(crate) struct Taker {
    turns: Turns,
    awaited: Option<BoxFuture<'static, OwnedSemaphorePermit>>,
    /// A turn with which it is in tokio's queue.
    taken: Option<OwnedSemaphorePermit>,
}

impl Taker {
    /// Ready with a turn, which lasts until it is dropped: once the guest has been through tokio's queue with it.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<OwnedSemaphorePermit> {
        if let Some(turn) = self.taken.take() {
            return Poll::Ready(turn);
        }
        let turns = &self.turns.0;
        let is_new = self.awaited.is_none();
        let awaited = self.awaited.get_or_insert_with(|| acquire(Arc::clone(turns), 1).boxed());
        let Poll::Ready(turn) = awaited.as_mut().poll(context) else { return Poll::Pending };
        self.awaited = None;
        if !is_new {
            return Poll::Ready(turn);
        }
        self.taken = Some(turn);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    /// As a guest goes on after a slice: with its waker woken. tokio's own yield puts a task off for dozens of others.
    async fn end_of_slice() {
        let mut is_over = false;
        poll_fn(|context| {
            if std::mem::replace(&mut is_over, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// So many slices of a guest that never waits.
    async fn spin(turns: &Turns, slices: u32, done: &AtomicU32) {
        let mut taker = turns.taker();
        for _ in 0..slices {
            poll_fn(|context| taker.poll(context).map(drop)).await;
            done.fetch_add(1, Relaxed);
            end_of_slice().await;
        }
    }

    #[tokio::test]
    async fn a_service_with_many_guests_that_spin_leaves_others_their_share() {
        const SLICES: u32 = 100;
        let (many, one) = (Turns::new(2), Turns::new(2));
        let done = Arc::new(AtomicU32::new(0));
        for _ in 0..1000 {
            let (many, done) = (many.clone(), Arc::clone(&done));
            tokio::spawn(async move { spin(&many, SLICES, &done).await });
        }
        // A task as they are: what a runtime blocks on has a share of its own.
        let alone = tokio::spawn(async move { spin(&one, SLICES, &AtomicU32::new(0)).await });
        alone.await.unwrap();
        let done = done.load(Relaxed);
        assert!((SLICES / 2..SLICES * 10).contains(&done), "{done} slices beside {SLICES}");
    }

    #[tokio::test]
    async fn guests_of_a_service_take_turns_in_order() {
        let turns = Turns::new(1);
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let guests = (0..3).map(|guest| {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            tokio::spawn(async move {
                let mut taker = turns.taker();
                for _ in 0..2 {
                    poll_fn(|context| taker.poll(context).map(drop)).await;
                    order.lock().push(guest);
                    end_of_slice().await;
                }
            })
        });
        futures_util::future::join_all(guests.collect::<Vec<_>>()).await;
        assert_eq!(order.lock()[..3], [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_guest_that_goes_away_leaves_its_turn() {
        let turns = Turns::new(1);
        let (mut first, mut second, mut third) = (turns.taker(), turns.taker(), turns.taker());
        let turn = poll_fn(|context| first.poll(context)).await;
        assert!(poll_fn(|context| Poll::Ready(second.poll(context).is_pending())).await);
        drop(turn);
        // It has the turn, and never looks.
        drop(second);
        // Nor does this one come back through the queue.
        assert!(poll_fn(|context| Poll::Ready(third.poll(context).is_pending())).await);
        drop(third);
        drop(poll_fn(|context| first.poll(context)).await);
    }
}
