//! Ends a stream of HTTP/2 whose client does not take the answer.
//!
//! Over HTTP/2 a client holds an answer back by keeping its window shut, with a socket that is never blocked, and hyper
//! does not ask a body for more until there is room (RFC 9113, section 5.2). So the body says here when it has handed a
//! piece over, and the task of the stream, which is the same one, ends the stream when the next piece has not been asked
//! for in time: the client gets `RST_STREAM` with `CANCEL`, and the other streams go on.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::pulse::Late;

tokio::task_local! {
    static OWN: Rc<Stall>;
}

/// What the body of an answer and the task of its stream tell each other.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// Since when a piece has waited for room.
    held_since: Cell<Option<Instant>>,
    /// When the whole exchange has to be over.
    total: Cell<Option<Instant>>,
    /// What the stream was ended for.
    gave_up: Cell<Option<Late>>,
}

impl Stall {
    /// That of the stream whose task this is. None over HTTP/1.1, where the socket is blocked and the driver of the
    /// connection sees to it.
    pub(crate) fn own() -> Option<Rc<Self>> {
        OWN.try_with(Rc::clone).ok()
    }

    pub(crate) fn ends_at(&self, total: Instant) {
        self.total.set(Some(total));
    }

    /// A piece is handed over.
    pub(crate) fn holds(&self) {
        self.held_since.set(Some(Instant::now()));
    }

    /// The next one is asked for.
    pub(crate) fn moves(&self) {
        self.held_since.set(None);
    }

    /// What it was ended for before its time.
    pub(crate) fn given_up(&self) -> Option<Late> {
        self.gave_up.get()
    }

    /// None while the client keeps nothing waiting: the body has limits of its own.
    fn due(&self, write_idle: Duration) -> Option<(Instant, Late)> {
        let due = (self.held_since.get()? + write_idle, Late::Taking);
        let total = self.total.get().map(|total| (total, Late::End));
        Some(total.filter(|(total, _)| *total < due.0).unwrap_or(due))
    }
}

/// Runs a stream until it ends, or its answer has waited for the client for `write_idle` or beyond its end.
pub(crate) async fn watch(stream: impl Future, write_idle: Duration) {
    let stall = Rc::new(Stall::default());
    let mut stream = pin!(OWN.scope(Rc::clone(&stall), stream));
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some((due, late)) = stall.due(write_idle) else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        ready!(poll_due(timer.as_mut(), due, cx));
        stall.gave_up.set(Some(late));
        Poll::Ready(())
    })
    .await;
}

/// Ready at `due`. The timer is moved forward only when it fires, so that what comes in time costs no change of it.
pub(crate) fn poll_due(mut timer: Pin<&mut Sleep>, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() > due {
        timer.as_mut().reset(due);
    }
    loop {
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() >= due {
            return Poll::Ready(());
        }
        timer.as_mut().reset(due);
    }
}
