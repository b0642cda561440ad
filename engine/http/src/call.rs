//! A request's call of its guest, as its caller holds it: here, lent to the background, or over.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::background::{Found, Home};
use crate::crowd::Beside;
use crate::fault::Fault;
use crate::host;
use crate::run::Run;
use crate::service::Inner;

/// Dropping it ends the guest, wherever it is.
pub(crate) struct Call {
    place: Place,
    service: Arc<Inner>,
}

enum Place {
    Here(Box<Run>),
    Away(Arc<Home>),
    /// In an instance that serves others as well.
    Beside(Beside),
    Over(Result<(), Fault>),
}

impl Call {
    pub(crate) fn new(run: Run, service: Arc<Inner>) -> Self {
        Self { place: Place::Here(Box::new(run)), service }
    }

    pub(crate) fn beside(request: Beside, service: Arc<Inner>) -> Self {
        Self { place: Place::Beside(request), service }
    }

    /// Lets the guest go on, if it can. Ready when it is over, also if it is asked again.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), &Fault>> {
        loop {
            let next = match &mut self.place {
                Place::Over(_) => break,
                Place::Here(run) => match run.poll(&self.service.host, false, context) {
                    Poll::Ready(end) => Place::Over(end.settle(&self.service)),
                    Poll::Pending if run.is_long() => self.lend(),
                    Poll::Pending => return Poll::Pending,
                },
                Place::Away(home) => match home.poll(context) {
                    Poll::Ready(Found::Back(run)) => Place::Here(run),
                    Poll::Ready(Found::Over(result)) => Place::Over(result),
                    Poll::Pending => return Poll::Pending,
                },
                Place::Beside(request) => match Pin::new(&mut request.over).poll(context) {
                    Poll::Ready(result) => Place::Over(result.unwrap_or_else(|_| Err(Fault::lost()))),
                    Poll::Pending => return Poll::Pending,
                },
            };
            self.place = next;
        }
        Poll::Ready(self.over().expect("only what is over breaks the loop"))
    }

    /// How it ended, once it is known to be over.
    pub(crate) fn over(&self) -> Option<Result<(), &Fault>> {
        match &self.place {
            Place::Over(result) => Some(result.as_ref().copied()),
            _ => None,
        }
    }

    pub(crate) fn host(&self) -> Arc<host::Inner> {
        Arc::clone(&self.service.host)
    }

    fn lend(&mut self) -> Place {
        match std::mem::replace(&mut self.place, Place::Over(Ok(()))) {
            Place::Here(run) => Place::Away(self.service.host.background.take(*run, Arc::clone(&self.service))),
            other => other,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Place::Away(home) = &self.place {
            home.leave();
        }
    }
}
