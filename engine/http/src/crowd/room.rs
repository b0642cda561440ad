//! How many instances a service may have that serve several requests at once: those that take no more requests count
//! until their stores are gone.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Places for instances.
pub(super) struct Room {
    taken: AtomicUsize,
    most: usize,
    /// Wakes one that waits; who finds something wakes the next.
    changed: Notify,
    /// Wakes all that have a place and would rather have room in an instance that is there.
    beside: Notify,
}

impl Room {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most, changed: Notify::new(), beside: Notify::new() })
    }

    /// A place, if one is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place(Arc::clone(self)))
    }

    /// There may be something to find for one that waits.
    pub(super) fn change(&self) {
        self.changed.notify_one();
        self.beside.notify_waiters();
    }

    /// Looks until there is something. Dropping the future loses nothing.
    pub(super) async fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look() {
                // The change may have been meant for another as well.
                self.change();
                return found;
            }
            changed.await;
        }
    }

    /// The same beside something else that is waited for, by one that keeps a place from others: each change is for all
    /// of these, and for one of the others as well.
    pub(super) async fn wait_beside<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.beside.notified());
            changed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            changed.await;
        }
    }
}

/// The place of an instance.
pub(super) struct Place(Arc<Room>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.change();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_may_be_and_no_more() {
        let room = Room::new(2);
        let (one, other) = (room.take().expect("a place"), room.take().expect("a place"));
        assert!(room.take().is_none());
        drop(one);
        assert!(room.take().is_some());
        drop(other);
    }

    #[tokio::test]
    async fn all_that_wait_find_what_one_change_made_room_for() {
        let room = Room::new(1);
        let first = room.take().expect("a place");
        let open = AtomicUsize::new(0);
        let look = || open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| open.checked_sub(1)).ok();
        let waiting = futures_util::future::join3(room.wait_for(look), room.wait_for(look), room.wait_for(look));
        let change = async {
            open.store(3, Ordering::SeqCst);
            drop(first);
        };
        futures_util::future::join(waiting, change).await;
        assert_eq!(open.load(Ordering::SeqCst), 0);
    }
}
