//! A guest's call as something to poll: the same boxed future from its first turn on the caller's thread to its last,
//! wherever that is. Its clocks and tasks are those of the host's own runtime, whoever polls it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::cell::Cell;
use crate::fault::Fault;
use crate::host;
use crate::pulse::Pulse;
use crate::service::Inner;

/// What runs a guest.
pub(crate) type Work = Pin<Box<dyn Future<Output = End> + Send>>;

/// How a guest's call ended, with the instance that served it. The result is to be published before the instance goes:
/// the end of its store ends the response's body, and the reader must be able to tell why.
pub(crate) struct End {
    result: Result<(), Fault>,
    cell: Option<Cell>,
}

impl End {
    pub(crate) fn new(result: Result<(), Fault>, cell: Option<Cell>) -> Self {
        Self { result, cell }
    }

    pub(crate) fn result(&self) -> &Result<(), Fault> {
        &self.result
    }

    /// Keeps the instance for another request, or drops it.
    pub(crate) fn settle(self, service: &Inner) -> Result<(), Fault> {
        if let Some(cell) = self.cell
            && self.result.is_ok()
        {
            service.keep(cell);
        }
        self.result
    }
}

/// A call under way.
pub(crate) struct Run {
    work: Work,
    pulse: Arc<Pulse>,
}

impl Run {
    pub(crate) fn new(work: Work, pulse: Arc<Pulse>) -> Self {
        Self { work, pulse }
    }

    /// One turn of the guest.
    pub(crate) fn poll(&mut self, host: &host::Inner, background: bool, context: &mut Context<'_>) -> Poll<End> {
        // What the guest begins to wait for, and the tasks of its calls, outlive the runtime of whoever polls it now: it
        // may go on in the background when that one is gone.
        let _entered = host.outgoing.enter();
        let _running = host.ticker.turn_begins();
        self.pulse.turn_begins(background);
        let polled = self.work.as_mut().poll(context);
        self.pulse.turn_ends();
        polled
    }

    /// Whether it is to be in the background.
    pub(crate) fn is_long(&self) -> bool {
        self.pulse.is_long()
    }
}
