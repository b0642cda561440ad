//! The threads: loops that serve, and a cold one that asks upstreams how they are and looks after certificates.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::accept::accept;
use super::bind::{Bound, Listening};
use super::probe;
use super::shared::{Accepting, Loop, Shared};

/// Between two sweeps of the connections that wait for requests.
const SWEEP: Duration = Duration::from_secs(10);

/// Why there is no thread.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread \"{name}\"")]
pub struct SpawnError {
    name: String,
    source: io::Error,
}

/// All threads of a front end. Each ends when its sender is dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    running: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Threads {
    /// Every listener has a socket for each of `loops`.
    pub(crate) fn start(shared: &Arc<Shared>, listeners: Vec<Bound>, loops: usize) -> Result<Self, SpawnError> {
        let mut sockets: Vec<Vec<Socket>> = (0..loops).map(|_| Vec::new()).collect();
        for bound in listeners {
            let is_tls = bound.is_tls;
            for (own, listening) in sockets.iter_mut().zip(bound.sockets) {
                own.push(Socket { listening, is_tls, accepting: Accepting::begin(shared) });
            }
        }
        let mut threads = Self { shared: Arc::clone(shared), running: Vec::new() };
        for (number, sockets) in sockets.into_iter().enumerate() {
            let shared = Arc::clone(shared);
            threads.spawn(format!("front-{number}"), move |end| run_loop(&shared, sockets, end))?;
        }
        let cold = Arc::clone(shared);
        threads.spawn("front-cold".into(), move |end| run_cold(&cold, end))?;
        Ok(threads)
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
        let left = shared.gauges.connections.load(std::sync::atomic::Ordering::Relaxed);
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

fn run_loop(shared: &Arc<Shared>, sockets: Vec<Socket>, own: Own) {
    let local = LocalSet::new();
    let this = Rc::new(Loop::new(Arc::clone(shared)));
    local.block_on(&own.runtime, async {
        for Socket { listening, is_tls, accepting } in sockets {
            let accepting = accept(Rc::clone(&this), listening, is_tls, accepting);
            tokio::task::spawn_local(async move {
                if let Err(error) = accepting.await {
                    tracing::error!(%error, "a listener does not work");
                }
            });
        }
        tokio::task::spawn_local(sweep(Rc::clone(&this)));
        let following = Rc::clone(&this);
        tokio::task::spawn_local(async move { following.follow().await });
        let _ = own.end.await;
    });
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
