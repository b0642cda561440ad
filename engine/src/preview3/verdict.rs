//! What came of a stream, as the future beside it tells: known once, when the stream has ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Both ends of the future: one says what came of it, the other is what the guest reads.
pub(crate) struct Verdict<E>(Arc<Mutex<Slot<E>>>);

struct Slot<E> {
    came: Option<Result<(), E>>,
    is_told: bool,
    reader: Option<Waker>,
}

impl<E> Clone for Verdict<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> Verdict<E> {
    /// One that is open.
    pub(crate) fn open() -> Self {
        Self(Arc::new(Mutex::new(Slot { came: None, is_told: false, reader: None })))
    }

    /// One that is known already.
    pub(crate) fn known(came: Result<(), E>) -> Self {
        let verdict = Self::open();
        verdict.tell(came);
        verdict
    }

    /// Says what came of it. What was said first holds.
    pub(crate) fn tell(&self, came: Result<(), E>) {
        let mut slot = self.0.lock();
        if std::mem::replace(&mut slot.is_told, true) {
            return;
        }
        slot.came = Some(came);
        if let Some(reader) = slot.reader.take() {
            reader.wake();
        }
    }
}

impl<E> Future for Verdict<E> {
    type Output = wasmtime::Result<Result<(), E>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock();
        match slot.came.take() {
            Some(came) => Poll::Ready(Ok(came)),
            None => {
                slot.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
