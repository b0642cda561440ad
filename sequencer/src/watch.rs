//! A value that others wait to change, used as `tokio::sync::watch` is.
//!
//! Waiters are woken in the order in which they began to wait. tokio's wake in a random order, with which two runs of
//! one simulated seed would differ.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

struct State<T> {
    value: T,
    /// How often it was changed.
    version: u64,
}

struct Shared<T> {
    state: RwLock<State<T>>,
    changed: Notify,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl<T> Shared<T> {
    fn value(&self) -> Ref<'_, T> {
        Ref(RwLockReadGuard::map(self.state.read(), |state| &state.value))
    }
}

/// The value as it is; nobody changes it meanwhile.
pub struct Ref<'a, T>(MappedRwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The value will not change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value will not change any more")]
pub struct Closed;

/// Changes the value; clones share it.
pub struct Sender<T>(Arc<Shared<T>>);

/// A value, with who waits for its changes.
#[must_use]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A value that nobody waits for yet.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            state: RwLock::new(State { value, version: 0 }),
            changed: Notify::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
        }))
    }

    /// Changes the value, whether anybody waits or not, and returns the one before.
    pub fn send_replace(&self, value: T) -> T {
        let mut value = value;
        self.send_if_modified(|current| {
            std::mem::swap(current, &mut value);
            true
        });
        value
    }

    /// Lets `modify` change the value; waiters are woken when it says that it did.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = {
            let mut state = self.0.state.write();
            let modified = modify(&mut state.value);
            state.version += u64::from(modified);
            modified
        };
        if modified {
            self.0.changed.notify_waiters();
        }
        modified
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.0.value()
    }

    /// Whether anybody could see a change.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.receivers.load(Ordering::Acquire) > 0
    }

    /// Waits for changes after this one.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.fetch_add(1, Ordering::AcqRel);
        let seen = self.0.state.read().version;
        Receiver { shared: Arc::clone(&self.0), seen }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

/// Waits for changes of the value.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The last version that it knows.
    seen: u64,
}

impl<T> Receiver<T> {
    /// Waits until the value is another than the last one seen. Cancellation-safe.
    ///
    /// # Errors
    /// When there is no sender any more.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let version = self.shared.state.read().version;
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.senders.load(Ordering::Acquire) == 0 {
                return Err(Closed);
            }
            changed.await;
        }
    }

    /// Waits until the value is as wanted. Cancellation-safe.
    ///
    /// # Errors
    /// When there is no sender any more.
    pub async fn wait_for(&mut self, is_wanted: impl Fn(&T) -> bool) -> Result<(), Closed> {
        loop {
            if is_wanted(&self.borrow_and_update()) {
                return Ok(());
            }
            self.changed().await?;
        }
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.value()
    }

    /// The value, which is seen now.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.state.read();
        self.seen = state.version;
        Ref(RwLockReadGuard::map(state, |state| &state.value))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::AcqRel);
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(tokio::task::LocalSet::new().run_until(test))
    }

    #[test]
    fn waiters_are_woken_in_the_order_in_which_they_began_to_wait() {
        run(async {
            let sender = Sender::new(0);
            let woken: Rc<RefCell<Vec<u32>>> = Rc::default();
            for nth in 0..20 {
                let (mut receiver, woken) = (sender.subscribe(), woken.clone());
                tokio::task::spawn_local(async move {
                    receiver.wait_for(|value| *value == 2).await.unwrap();
                    woken.borrow_mut().push(nth);
                });
            }
            tokio::task::yield_now().await;
            assert_eq!(sender.send_replace(2), 0);
            tokio::task::yield_now().await;
            assert_eq!(*woken.borrow(), (0..20).collect::<Vec<_>>());
        });
    }

    #[test]
    fn changes_are_seen_once_and_the_end_is_told() {
        run(async {
            let (sender, mut receiver) = channel(1);
            sender.send_replace(2);
            receiver.changed().await.unwrap();
            assert_eq!(*receiver.borrow(), 2);
            assert!(!sender.send_if_modified(|_| false), "nothing is changed");
            assert!(sender.is_watched());
            drop(sender);
            assert_eq!(receiver.changed().await, Err(Closed));
        });
    }
}
