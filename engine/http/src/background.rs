//! Where guests run that outlive their share of the caller's thread: threads at nice 19, so that a spinning guest costs
//! its neighbours nothing. They come back when they wait for something, unless they have worked much lately.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use crate::counters::count;
use crate::fault::Fault;
use crate::host;
use crate::run::Run;
use crate::service::Inner;
use crate::turns::{Taker, Turns};

/// The niceness of the threads: a thread beside four that spin is woken within 0.1 ms.
const NICE: i32 = 19;

pub(crate) struct Background {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    threads: usize,
}

impl Background {
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("http-long")
            .on_thread_start(be_nice)
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime), threads })
    }

    /// The turns of one service.
    pub(crate) fn turns(&self) -> Turns {
        Turns::new(self.threads)
    }

    /// Takes a call over. Its caller finds it, or its end, in the home.
    pub(crate) fn take(&self, run: Run, service: Arc<Inner>) -> Arc<Home> {
        count(&service.counters.to_background);
        let home = Arc::new(Home::default());
        let host = Arc::clone(&service.host);
        let taker = service.turns.taker();
        self.spawn(Away { run: Some(run), home: Arc::clone(&home), host, service, taker });
        home
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // The last owner may be a task of this very runtime, or of one that must not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn be_nice() {
    // Threads that cannot be made nicer still work; neighbours then wait longer for them.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::warn!(%error, "a background thread keeps its priority");
    }
}

/// Where a caller waits for the call that it lent out.
#[derive(Default)]
pub(crate) struct Home {
    state: Mutex<State>,
    /// The task in the background, which may wait for something that never comes.
    task: AtomicWaker,
}

enum State {
    /// The call is away; its caller is to be woken.
    Away(Option<Waker>),
    /// It is back, and waits for something.
    Back(Box<Run>),
    /// It is over.
    Over(Result<(), Fault>),
    /// Nobody waits for it any more.
    Left,
}

impl Default for State {
    fn default() -> Self {
        Self::Away(None)
    }
}

/// What a caller finds at home.
pub(crate) enum Found {
    /// A call to go on with: it is to be polled at once, since its wakers are those of the background.
    Back(Box<Run>),
    /// The end.
    Over(Result<(), Fault>),
}

impl Home {
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Found> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Away(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => match std::mem::replace(&mut *state, State::Left) {
                State::Back(run) => Poll::Ready(Found::Back(run)),
                State::Over(result) => Poll::Ready(Found::Over(result)),
                State::Away(_) | State::Left => Poll::Ready(Found::Over(Err(Fault::lost()))),
            },
        }
    }

    /// The caller goes.
    pub(crate) fn leave(&self) {
        let left = std::mem::replace(&mut *self.state.lock(), State::Left);
        // A guest's store is dropped here, outside the lock, or by the task.
        drop(left);
        self.task.wake();
    }

    fn is_left(&self) -> bool {
        matches!(&*self.state.lock(), State::Left)
    }

    fn put(&self, found: State) {
        let mut state = self.state.lock();
        if let State::Away(waker) = &mut *state {
            let waker = waker.take();
            *state = found;
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// A call in the background.
struct Away {
    run: Option<Run>,
    home: Arc<Home>,
    host: Arc<host::Inner>,
    service: Arc<Inner>,
    taker: Taker,
}

impl Future for Away {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.home.task.register(context.waker());
        let Some(run) = this.run.as_mut().filter(|_| !this.home.is_left()) else {
            this.run = None;
            return Poll::Ready(());
        };
        // Given back when this poll ends.
        let Poll::Ready(_turn) = this.taker.poll(context) else { return Poll::Pending };
        match run.poll(&this.host, true, context) {
            Poll::Ready(end) => {
                this.home.put(State::Over(end.result().clone()));
                let _ = end.settle(&this.service);
                this.run = None;
                Poll::Ready(())
            }
            Poll::Pending if run.is_long() => Poll::Pending,
            Poll::Pending => {
                if let Some(run) = this.run.take() {
                    this.home.put(State::Back(Box::new(run)));
                }
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        // Only a runtime that shuts down drops it early.
        if self.run.is_some() {
            self.home.put(State::Over(Err(Fault::lost())));
        }
    }
}
