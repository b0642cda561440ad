//! One run of a component of 0.3: instantiate it, call `run`, and let a turn end when nothing of it can go on.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use wasmtime::component::{Accessor, InstancePre, TypedFunc};
use wasmtime::{AsContextMut, Store, StoreContextMut, Trap};

use super::waits::Waits;
use crate::checkpoint::image::Image;
use crate::host::{Host, Shared, begin_turn, suspend};
use crate::preview2::command::{Status, begin, ended};
use crate::preview2::links::call;

/// Runs the component by the interface of this name.
pub(crate) async fn run(pre: &InstancePre<Host>, command: &str, store: &mut Store<Host>) -> wasmtime::Result<()> {
    let shared = Arc::clone(&store.data().shared);
    {
        let mut shared = shared.lock();
        shared.begun = shared.turn;
        shared.waits = Waits::default();
    }
    let run = begin(pre, command, store).await?;
    let events = store.run_concurrent(async move |accessor| called(accessor, run).await);
    ended(in_turns(&shared, events).await.flatten())
}

/// Calls `run`, and does what is to be done with the whole store before anything else goes on.
async fn called(accessor: &Accessor<Host>, run: TypedFunc<(), Status>) -> wasmtime::Result<Status> {
    let mut call = pin!(run.call_concurrent(accessor, ()));
    std::future::poll_fn(|context| {
        if let Err(error) = accessor.with(|mut access| before(&mut access.as_context_mut())) {
            return Poll::Ready(Err(error));
        }
        call.as_mut().poll(context)
    })
    .await
}

/// What the event loop does before anything else goes on.
fn before(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    if !store.data().endings.is_empty() {
        call(store, |_| ());
    }
    let shared = Arc::clone(&store.data().shared);
    let mut shared = shared.lock();
    // Whoever was woken before is polled after this.
    shared.waits.woken.forget();
    if std::mem::take(&mut shared.look) {
        shared.image = Some(Image::whole(&mut *store));
    }
    if shared.begun != shared.turn {
        begin_turn(store, &mut shared, None);
    }
    if std::mem::take(&mut shared.waits.settling) && !shared.waits.has_moved {
        if shared.waits.is_empty() {
            return Err(Trap::AsyncDeadlock.into());
        }
        suspend(store, &mut shared)?;
    }
    Ok(())
}

/// Polls the event loop until it has nothing to do in the turn.
///
/// wasmtime's own yields wake whoever polls it; when it gives up without that, nothing of the guest can go on by itself.
/// Whoever waits is then asked once more, if anything happened since, and when nothing did the turn ends.
async fn in_turns<T>(shared: &Mutex<Shared>, events: impl Future<Output = T>) -> T {
    let mut events = pin!(events);
    let (woken, mut turn) = {
        let shared = shared.lock();
        (Arc::clone(&shared.waits.woken), shared.turn)
    };
    let waker = Waker::from(Arc::clone(&woken));
    std::future::poll_fn(|_| {
        let turns = {
            let mut shared = shared.lock();
            shared.waits.settling = false;
            std::mem::replace(&mut turn, shared.turn) != shared.turn
        };
        if turns {
            wake_all(shared);
        }
        loop {
            woken.forget();
            if let Poll::Ready(done) = events.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
            let mut locked = shared.lock();
            if woken.is_set() {
                locked.blocked = false;
                return Poll::Pending;
            }
            // Its account is closed, or a call of 0.2 holds up everything.
            if locked.blocked {
                return Poll::Pending;
            }
            // Asking again counts as polling does, so that tasks that only answer each other come to the end of a turn.
            if locked.waits.has_moved && locked.kernel().would_block().is_some() {
                drop(locked);
                wake_all(shared);
            } else {
                locked.waits.has_moved = false;
                locked.waits.settling = true;
            }
        }
    })
    .await
}

fn wake_all(shared: &Mutex<Shared>) {
    let waiting = shared.lock().waits.take();
    waiting.into_values().for_each(Waker::wake);
}
