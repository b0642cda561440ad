//! The slots of the pool: most are for whoever comes first, the rest for services that find those taken.
//!
//! Without such a rest one service whose instances sleep, or one client of it, would leave nothing to its neighbours,
//! however few slots these need.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admission::{Admission, acquire};
use crate::needs::MOST_SLOTS;
use crate::refusal::Refusal;

/// One slot of so many is kept for services that find the others taken.
const KEPT: u32 = 8;
/// Slots of those that one service may have at once: an instance fits, however large.
const KEPT_OF_SERVICE: u32 = MOST_SLOTS;
/// Requests of all services that may wait for a slot.
const QUEUE: usize = 4096;
/// How long they may.
const WAIT: Duration = Duration::from_secs(10);

/// The slots of a host.
pub(crate) struct Slots {
    common: Admission,
    common_slots: u32,
    kept: Arc<Semaphore>,
}

/// A service's part of the slots that are kept.
pub(crate) struct Part(Arc<Semaphore>);

/// The slots of an instance, until this is dropped.
pub(crate) struct Lease {
    _slots: OwnedSemaphorePermit,
    /// Where the slots are of those that are kept: so much of the service's part.
    _part: Option<OwnedSemaphorePermit>,
}

impl Part {
    /// For a new service.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(KEPT_OF_SERVICE as usize)))
    }
}

impl Slots {
    /// Of a pool that is too small for a part for each of several services nothing is kept.
    pub(crate) fn new(slots: u32) -> Self {
        let kept = if slots >= KEPT * KEPT_OF_SERVICE { slots / KEPT } else { 0 };
        let common_slots = slots - kept;
        Self {
            common: Admission::new(common_slots as usize, QUEUE, WAIT),
            common_slots,
            kept: Arc::new(Semaphore::new(kept as usize)),
        }
    }

    /// Instances of so many slots that one service may have at once.
    pub(crate) fn instances(&self, slots: u32) -> usize {
        (self.common_slots / slots).max(1) as usize
    }

    /// Takes slots at once, if so many are free for the service.
    pub(crate) fn try_take(&self, slots: u32, part: &Part) -> Option<Lease> {
        if let Some(common) = self.common.try_take(slots) {
            return Some(Lease { _slots: common, _part: None });
        }
        let part = Arc::clone(&part.0).try_acquire_many_owned(slots).ok()?;
        let kept = Arc::clone(&self.kept).try_acquire_many_owned(slots).ok()?;
        Some(Lease { _slots: kept, _part: Some(part) })
    }

    /// Takes slots, in turn with others that wait, with something to do once [`is_awaited`](Self::is_awaited) says that
    /// somebody waits.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when the queue is full or the wait was too long.
    pub(crate) async fn take_after(&self, slots: u32, part: &Part, enlisted: impl FnOnce()) -> Result<Lease, Refusal> {
        let kept = async {
            let part = acquire(Arc::clone(&part.0), slots).await;
            Lease { _slots: acquire(Arc::clone(&self.kept), slots).await, _part: Some(part) }
        };
        let taken = self.common.queue(async {
            enlisted();
            tokio::select! {
                biased;
                common = self.common.next(slots) => Lease { _slots: common, _part: None },
                kept = kept => kept,
            }
        });
        taken.await
    }

    /// Whether somebody waits for a slot.
    pub(crate) fn is_awaited(&self) -> bool {
        self.common.is_awaited()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_is_kept_for_services_that_find_the_others_taken() {
        let slots = Slots::new(2048);
        assert_eq!((slots.instances(1), slots.instances(2), slots.instances(16)), (1792, 896, 112));
        let (greedy, other) = (Part::new(), Part::new());
        let mut leases: Vec<_> = std::iter::from_fn(|| slots.try_take(2, &greedy)).collect();
        assert_eq!(leases.len(), 896 + 8, "all that are common, and its part of those that are kept");
        assert!(slots.try_take(1, &greedy).is_none());
        let of_other: Vec<_> = std::iter::from_fn(|| slots.try_take(16, &other)).collect();
        assert_eq!(of_other.len(), 1);
        leases.pop();
        assert!(slots.try_take(2, &greedy).is_some(), "what was of its part is so again");
    }

    #[test]
    fn of_a_small_pool_nothing_is_kept() {
        for (slots, instances) in [(1, 1), (127, 127), (128, 112)] {
            assert_eq!(Slots::new(slots).instances(1), instances);
        }
        assert_eq!(Slots::new(1).instances(16), 1, "it is refused for want of slots");
    }

    #[tokio::test]
    async fn whoever_waits_gets_what_is_free_first() {
        let slots = Slots::new(128);
        let part = Part::new();
        let mut leases: Vec<_> = std::iter::from_fn(|| slots.try_take(1, &part)).collect();
        assert_eq!(leases.len(), 128);
        for of_part in [true, false] {
            let last = if of_part { leases.pop() } else { Some(leases.remove(0)) };
            let (taken, ()) = futures_util::future::join(slots.take_after(1, &part, || {}), async {
                assert!(slots.is_awaited());
                drop(last);
            })
            .await;
            leases.push(taken.expect("a slot"));
        }
    }
}
