//! Who may have an instance: a bounded number at once, a bounded queue behind them, a bounded wait in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;

/// After how long a refused request is told to come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Seats with a queue before them.
pub(crate) struct Admission {
    seats: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    wait: Duration,
}

impl Admission {
    pub(crate) fn new(seats: usize, queue: usize, wait: Duration) -> Self {
        let seats = Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS)));
        Self { seats, waiting: AtomicUsize::new(0), queue, wait }
    }

    /// Takes seats at once, if so many are free.
    pub(crate) fn try_take(&self, seats: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_many_owned(seats).ok()
    }

    /// Takes seats, in turn with others that wait.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when the queue is full or the wait was too long.
    pub(crate) async fn take(&self, seats: u32) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Some(permit) = self.try_take(seats) {
            return Ok(permit);
        }
        self.queue(self.next(seats)).await
    }

    /// Takes seats, in turn with others that wait, for one who has a place in the [`queue`](Self::queue).
    pub(crate) async fn next(&self, seats: u32) -> OwnedSemaphorePermit {
        acquire(Arc::clone(&self.seats), seats).await
    }

    /// Waits for something else in the same queue, as long as for a seat.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when the queue is full or the wait was too long.
    pub(crate) async fn queue<T>(&self, wanted: impl Future<Output = T>) -> Result<T, Refusal> {
        let _place = self.place()?;
        let found = tokio::time::timeout(self.wait, wanted).await;
        found.map_err(|_| Refusal::Busy { retry_after: RETRY_AFTER })
    }

    /// Whether somebody waits for a seat.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn place(&self) -> Result<Place<'_>, Refusal> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.queue {
            return Ok(place);
        }
        Err(Refusal::Busy { retry_after: RETRY_AFTER })
    }
}

/// A place in the queue.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes permits of a semaphore, in turn with others that wait. No semaphore of this crate is ever closed.
pub(crate) async fn acquire(semaphore: Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    semaphore.acquire_many_owned(permits).await.expect("the semaphore is never closed")
}
