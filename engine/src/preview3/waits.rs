//! Who waits in a component of 0.3, in the order in which they began to.
//!
//! Whoever waits is asked again at the begin of each turn, and within a turn when the guest has done something that may
//! be what another of its tasks waits for. All are woken in the order of their places, which is what makes the order in
//! which wasmtime polls them one that follows from the guest's calls alone: its queue of futures is first in, first out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use refrain_kernel::poll::{Interest, Subscription};
use wasmtime::StoreContextMut;

use crate::host::Host;
use crate::meter;
use crate::preview2::links::{Call, Halt, call, settled};

/// All waits of a guest.
#[derive(Default)]
pub(crate) struct Waits {
    places: BTreeMap<u64, Waker>,
    last: u64,
    /// The guest has done something since all were asked.
    pub(crate) has_moved: bool,
    /// Nothing can go on: the turn's account is to be closed when the event loop is polled next.
    pub(crate) settling: bool,
    /// Whether whoever polls the event loop was woken, and has not polled everything since.
    pub(crate) woken: Arc<Woken>,
}

/// A note that whoever polls was woken.
#[derive(Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn forget(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Waits {
    /// Forgets all and gives back whom to wake, in their order.
    pub(crate) fn take(&mut self) -> BTreeMap<u64, Waker> {
        self.has_moved = false;
        std::mem::take(&mut self.places)
    }

    /// Whether there is nobody whom a turn could help.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn enter(&mut self, place: &mut Option<u64>, waker: &Waker) {
        let at = *place.get_or_insert_with(|| {
            self.last += 1;
            self.last
        });
        self.places.insert(at, waker.clone());
    }
}

/// One of a guest's waits: none as long as nothing is waited for.
#[derive(Debug, Default)]
pub(crate) struct Wait(Option<u64>);

/// Makes a call and takes what it cost; notes who makes it when it has to wait. `run` is told whether it is made for the
/// first time.
pub(crate) fn attempt<R>(
    store: &mut StoreContextMut<'_, Host>,
    wait: &mut Wait,
    context: &Context<'_>,
    run: impl FnOnce(&mut Call<'_>, bool) -> Result<R, Halt>,
) -> Poll<wasmtime::Result<R>> {
    if let Err(spent) = meter::check(&*store) {
        return Poll::Ready(Err(spent));
    }
    let first = wait.0.is_none();
    let had_moved = store.data().shared.lock().waits.has_moved;
    match call(store, |call| run(call, first)) {
        Ok(value) => {
            wait.0 = None;
            Poll::Ready(Ok(value))
        }
        Err(Halt::End(error)) => Poll::Ready(Err(error)),
        Err(Halt::Block) => {
            let waits = &mut store.data().shared.lock().waits;
            // To have asked once more is no news for anybody.
            waits.has_moved &= first || had_moved;
            waits.enter(&mut wait.0, context.waker());
            Poll::Pending
        }
    }
}

/// Waits until a call with this interest would not wait. What is wrong with a descriptor is told by that call.
pub(crate) fn until_ready(call: &mut Call<'_>, interest: Interest, first: bool) -> Result<(), Halt> {
    let subscription = Subscription { userdata: 0, interest };
    settled(call.kernel.poll(&[subscription], first)).map(drop)
}
