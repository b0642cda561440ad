//! Runs a future and what it spawned until all of them are done, and waits for the host in between.
//!
//! One thread, no queue: whatever is woken, all are polled. A request has few futures, and most are ready at once.
//! What a future waits for on the host is a `wasi:io/poll` pollable, registered while the future waits.

use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use wasip2::io::poll::{Pollable, poll};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Who waits for what. Few at once, so they are looked up one after the other.
#[derive(Default)]
struct Waiting {
    next: u64,
    entries: Vec<(u64, Rc<Pollable>, Waker)>,
}

impl Waiting {
    fn remove(&mut self, entry: u64) {
        self.entries.retain(|(known, ..)| *known != entry);
    }
}

thread_local! {
    static WAITING: RefCell<Waiting> = RefCell::default();
    static SPAWNED: RefCell<Vec<Task>> = const { RefCell::new(Vec::new()) };
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end, and all that was spawned meanwhile. For [`serve!`](crate::serve), and for tests.
///
/// # Panics
///
/// When the future waits and nothing is there that could wake it.
pub fn run<F: Future>(future: F) -> F::Output {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut output = None;
    let mut tasks: Vec<Task> = Vec::new();
    loop {
        if output.is_none()
            && let Poll::Ready(value) = future.as_mut().poll(&mut context)
        {
            output = Some(value);
        }
        tasks.extend(SPAWNED.take());
        tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
        let more = SPAWNED.with_borrow(|spawned| !spawned.is_empty());
        if !more && tasks.is_empty() && output.is_some() {
            break;
        }
        if !woken.0.swap(false, Ordering::Relaxed) && !more {
            wait();
        }
    }
    output.expect("the loop ends when it is there")
}

/// Has a future run beside the one that runs now. The instance is not done before it.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    SPAWNED.with_borrow_mut(|spawned| spawned.push(Box::pin(task)));
}

/// Blocks until the host has something for somebody, and wakes those.
fn wait() {
    let (pollables, wakers): (Vec<Rc<Pollable>>, Vec<Waker>) =
        WAITING.with_borrow(|waiting| waiting.entries.iter().map(|(_, at, by)| (Rc::clone(at), by.clone())).unzip());
    assert!(!pollables.is_empty(), "a future waits for something that nothing will bring");
    let borrowed: Vec<&Pollable> = pollables.iter().map(Rc::as_ref).collect();
    for index in poll(&borrowed) {
        wakers[index as usize].wake_by_ref();
    }
}

/// Waits until a pollable is ready.
pub(crate) fn ready(pollable: Pollable) -> impl Future<Output = ()> {
    Ready { pollable: Rc::new(pollable), entry: None }
}

struct Ready {
    pollable: Rc<Pollable>,
    entry: Option<u64>,
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pollable.ready() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| {
            let entry = *self.entry.get_or_insert_with(|| {
                waiting.next += 1;
                waiting.next
            });
            waiting.remove(entry);
            waiting.entries.push((entry, Rc::clone(&self.pollable), context.waker().clone()));
        });
        Poll::Pending
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            // The host wants a pollable gone before what it belongs to: this one's owner drops that next.
            WAITING.with_borrow_mut(|waiting| waiting.remove(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;

    #[test]
    fn a_future_that_wakes_itself_is_polled_again() {
        let mut left = 3;
        let polls = run(poll_fn(|context| {
            left -= 1;
            context.waker().wake_by_ref();
            if left == 0 { Poll::Ready(3) } else { Poll::Pending }
        }));
        assert_eq!(polls, 3);
    }

    #[test]
    fn what_was_spawned_is_done_before_the_end() {
        let done = Rc::new(Cell::new(0));
        let (outer, inner) = (Rc::clone(&done), Rc::clone(&done));
        run(async move {
            spawn(async move {
                spawn(async move { inner.set(inner.get() + 1) });
                outer.set(outer.get() + 1);
            });
        });
        assert_eq!(done.get(), 2);
    }

    #[test]
    #[should_panic(expected = "nothing will bring")]
    fn a_future_that_nothing_can_wake_ends_the_instance() {
        run(std::future::pending::<()>());
    }
}
