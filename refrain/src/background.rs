//! Work beside the loop that nobody waits for at once: on threads of the runtime, at nice 10, so that requests which
//! are served meanwhile have the cores first.

use std::cell::Cell;

use tokio::task::JoinHandle;

const NICE: i32 = 10;

thread_local! {
    static NICER: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on another thread. Dropping the handle does not stop it.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let nicer = move || {
        if !NICER.replace(true)
            && let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE)
        {
            tracing::debug!(%error, "a thread of the background stays at normal priority");
        }
        work()
    };
    tokio::task::spawn_blocking(nicer)
}
