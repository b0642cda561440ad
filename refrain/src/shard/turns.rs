//! Who runs the turns of guests, and the work beside them: threads, or the loop thread itself where nodes are simulated.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use refrain_engine::checkpoint::CheckpointStore;
use refrain_engine::workers::ReportSink;
use refrain_engine::{BatchSource, Workers};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Inner;
use crate::background;

/// Who runs turns.
#[derive(Clone)]
pub enum Turns {
    /// Worker threads, as many as the configuration says.
    Threads,
    /// The loop thread, so long after it was given something to do as this says each time.
    Inline(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Turns {
    /// Whether nothing runs beside the loop thread.
    pub(super) fn are_inline(&self) -> bool {
        matches!(self, Self::Inline(_))
    }

    /// Runs work beside the loop, which goes on meanwhile. Dropping the handle does not stop it.
    pub(super) fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match self {
            Self::Threads => background::run(work),
            Self::Inline(pause) => {
                let pause = pause();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(pause).await;
                    work()
                })
            }
        }
    }

    /// The same for work that waits for others in between.
    pub(super) fn alongside(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Threads => {
                let runtime = Handle::current();
                background::run(move || runtime.block_on(work));
            }
            Self::Inline(_) => {
                tokio::task::spawn_local(work);
            }
        }
    }

    /// Starts the workers of this node's engine. What replicas capture is kept in `store`, if there is one.
    pub(super) fn start(
        &self,
        inner: &Rc<Inner>,
        source: Arc<dyn BatchSource>,
        sink: ReportSink,
        store: Option<Arc<CheckpointStore>>,
    ) -> Workers {
        let pause = match self {
            Self::Threads => return Workers::start_with(inner.config.engine_workers, source, sink, store),
            Self::Inline(pause) => Arc::clone(pause),
        };
        let given = Arc::new(Notify::new());
        let wake = Arc::clone(&given);
        let inner = Rc::downgrade(inner);
        tokio::task::spawn_local(async move {
            loop {
                given.notified().await;
                let pause = pause();
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let Some(inner) = inner.upgrade() else { return };
                if let Some(workers) = inner.workers() {
                    workers.work();
                }
            }
        });
        Workers::inline(source, sink, store, Box::new(move || wake.notify_one()))
    }
}
