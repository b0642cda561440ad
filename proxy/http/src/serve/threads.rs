//! The threads: loops that serve, and a cold one that asks upstreams how they are and looks after certificates.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::accept::accept;
use super::bind::{Bound, Listening};
use super::probe;
use super::shared::{Accepting, InnerPlace, Loop, Shared};
use crate::inner;

/// Between two sweeps of the connections that wait for requests.
const SWEEP: Duration = Duration::from_secs(10);

/// Why there is no thread.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread \"{name}\"")]
pub struct SpawnError {
    name: String,
    source: io::Error,
}

/// What a running loop is given.
enum Given {
    Socket(Socket),
    Inner(std::net::TcpStream, InnerPlace),
}

/// Listeners and streams that may wait for a loop.
const MAX_GIVEN: usize = 1024;

/// All threads of a front end. Each ends when its sender is dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    running: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
    loops: Vec<mpsc::Sender<Given>>,
    /// The loop that gets the next stream.
    next: AtomicUsize,
}

impl Threads {
    /// Every listener has a socket for each of `loops`.
    pub(crate) fn start(shared: &Arc<Shared>, listeners: Vec<Bound>, loops: usize) -> Result<Self, SpawnError> {
        let mut threads =
            Self { shared: Arc::clone(shared), running: Vec::new(), loops: Vec::new(), next: AtomicUsize::new(0) };
        for number in 0..loops {
            let shared = Arc::clone(shared);
            let (give, given) = mpsc::channel(MAX_GIVEN);
            threads.spawn(format!("front-{number}"), move |end| run_loop(&shared, given, end))?;
            threads.loops.push(give);
        }
        threads.listen(listeners);
        let cold = Arc::clone(shared);
        threads.spawn("front-cold".into(), move |end| run_cold(&cold, end))?;
        Ok(threads)
    }

    /// Takes clients in there as well.
    pub(crate) fn listen(&self, listeners: Vec<Bound>) {
        for bound in listeners {
            let is_tls = bound.is_tls;
            for (give, listening) in self.loops.iter().zip(bound.sockets) {
                let socket = Socket { listening, is_tls, accepting: Accepting::begin(&self.shared) };
                if give.try_send(Given::Socket(socket)).is_err() {
                    tracing::error!(
                        "a thread of the front end has ended, or does not take the listeners that it is given"
                    );
                }
            }
        }
    }

    /// Has one of the loops serve a stream of another front end. Says whether one does.
    pub(crate) fn take_inner(&self, stream: std::net::TcpStream) -> bool {
        let Some(place) = InnerPlace::take(&self.shared) else { return false };
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.loops.len();
        self.loops[next].try_send(Given::Inner(stream, place)).is_ok()
    }

    fn spawn(&mut self, name: String, body: impl FnOnce(Own) + Send + 'static) -> Result<(), SpawnError> {
        let (sender, end) = oneshot::channel();
        let fault = |source| SpawnError { name: name.clone(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
        let builder = std::thread::Builder::new().name(name.clone());
        let handle = builder.spawn(move || body(Own { runtime, end })).map_err(fault)?;
        self.running.push((sender, handle));
        Ok(())
    }

    /// Takes no more clients, waits until those that are there have their answers, at the longest until `deadline`, and
    /// ends the threads. Returns how many connections were cut off.
    pub(crate) fn drain(self, deadline: Instant) -> u32 {
        self.shared.begin_drain();
        let shared = Arc::clone(&self.shared);
        let waited = tokio::runtime::Builder::new_current_thread().enable_time().build();
        if let Ok(runtime) = waited {
            let empty = shared.wait_until_empty();
            let _ = runtime.block_on(async { tokio::time::timeout_at(deadline.into(), empty).await });
        }
        let left = shared.gauges.connections.load(Ordering::Relaxed);
        drop(self);
        left
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.begin_drain();
        for (end, handle) in self.running.drain(..) {
            drop(end);
            // A panic of a loop was told by its hook.
            let _ = handle.join();
        }
    }
}

/// A listener's socket for one loop, counted from the start, so that no drain misses it.
struct Socket {
    listening: Listening,
    is_tls: bool,
    accepting: Accepting,
}

struct Own {
    runtime: Runtime,
    end: oneshot::Receiver<()>,
}

fn run_loop(shared: &Arc<Shared>, mut given: mpsc::Receiver<Given>, own: Own) {
    let local = LocalSet::new();
    let this = Rc::new(Loop::new(Arc::clone(shared)));
    local.block_on(&own.runtime, async {
        let taking = Rc::clone(&this);
        tokio::task::spawn_local(async move {
            while let Some(given) = given.recv().await {
                take(&taking, given);
            }
        });
        tokio::task::spawn_local(sweep(Rc::clone(&this)));
        let following = Rc::clone(&this);
        tokio::task::spawn_local(async move { following.follow().await });
        let _ = own.end.await;
    });
}

fn take(own: &Rc<Loop>, given: Given) {
    match given {
        Given::Socket(Socket { listening, is_tls, accepting }) => {
            let accepting = accept(Rc::clone(own), listening, is_tls, accepting);
            tokio::task::spawn_local(async move {
                if let Err(error) = accepting.await {
                    tracing::error!(%error, "a listener does not work");
                }
            });
        }
        Given::Inner(stream, place) => match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => drop(tokio::task::spawn_local(inner::serve(Rc::clone(own), stream, place))),
            Err(error) => tracing::warn!(%error, "a stream of another node cannot be served"),
        },
    }
}

async fn sweep(own: Rc<Loop>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        own.pool.sweep();
    }
}

fn run_cold(shared: &Arc<Shared>, own: Own) {
    let local = LocalSet::new();
    local.block_on(&own.runtime, async {
        tokio::task::spawn_local(probe::run(Arc::clone(shared)));
        let watched = Arc::clone(shared);
        tokio::task::spawn_local(async move { watched.tls.watch().await });
        let _ = own.end.await;
    });
}
