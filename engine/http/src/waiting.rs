//! Between a request and its response's head: the guest runs, and whatever comes first decides.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Instant, Sleep};

use crate::call::Call;
use crate::fault::{Fault, Kind};
use crate::head::{Head, HeadReceiver};
use crate::intake::Taken;
use crate::limits::Limits;
use crate::moved::Since;
use crate::refusal::Refusal;

/// Resolves to the head and the call, which may go on.
pub(crate) struct Waiting<'a> {
    /// None once it is resolved.
    call: Option<Call>,
    head: HeadReceiver,
    taken: Taken,
    began: Instant,
    /// When the guest took of the request's body last.
    moved: Since,
    /// None until the guest has to be waited for: most have answered after one turn.
    clock: Option<Pin<Box<Sleep>>>,
    limits: &'a Limits,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(call: Call, head: HeadReceiver, taken: Taken, limits: &'a Limits) -> Self {
        let moved = Since::now(taken.moved.clone());
        Self { call: Some(call), head, taken, began: Instant::now(), moved, clock: None, limits }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    fn poll_clock(&mut self, context: &mut Context<'_>) -> Poll<Refusal> {
        let deadline = self.limits.deadline;
        let at_most = deadline.max(self.limits.lifetime);
        loop {
            let (next, last) = (self.moved.last() + deadline, self.began + at_most);
            let (until, limit) = if next <= last { (next, deadline) } else { (last, at_most) };
            let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if clock.deadline() == until {
                return clock.as_mut().poll(context).map(|()| Refusal::Deadline { limit });
            }
            // The guest may have taken more of the request in the background, where nobody tells.
            if clock.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            clock.as_mut().reset(until);
        }
    }

    fn refusal(&self, fault: &Fault) -> Refusal {
        match fault.kind {
            Kind::Instantiate => Refusal::Instantiate { detail: fault.detail.clone() },
            Kind::Cpu => Refusal::Cpu { limit: self.limits.cpu.unwrap_or_default() },
            Kind::Trapped(word) => Refusal::Trapped { word, detail: fault.detail.clone() },
        }
    }
}

impl Future for Waiting<'_> {
    type Output = Result<(Head, Call), Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut call = this.call.take().expect("a future is not polled after it is ready");
        let over = match call.poll(context) {
            // A guest that fails before its head went out has given no response, whatever it meant to.
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(this.refusal(fault))),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        if this.taken.is_too_long() {
            return Poll::Ready(Err(Refusal::RequestBody { limit: this.limits.request_body_bytes }));
        }
        // What is there is taken without a look at tokio's budget, which would make an answer look like none.
        match this.head.try_recv() {
            Ok(head) => return Poll::Ready(Ok((head, call))),
            // A guest that is kept may hold on to what it should have answered with.
            Err(_) if over => return Poll::Ready(Err(Refusal::NoResponse)),
            // The guest will not answer, or failed just now in the background: its end will tell.
            Err(TryRecvError::Closed) => {}
            Err(TryRecvError::Empty) => {
                if let Poll::Ready(Ok(head)) = Pin::new(&mut this.head).poll(context) {
                    return Poll::Ready(Ok((head, call)));
                }
            }
        }
        this.call = Some(call);
        this.poll_clock(context).map(Err)
    }
}
