//! Moves one connection until it ends, is late, or has been drained.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::linger::LINGER;
use super::pulse::{Late, Pulse};
use super::shared::Shared;
use super::stall::poll_due;

/// Where the timer stands before there is a deadline.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection of hyper, of either protocol.
pub(crate) trait Drains: Future<Output = Result<(), hyper::Error>> {
    /// Whether the client is told that no more is taken, and what was (RFC 9113, section 6.8). A request may be on its way
    /// when an idle connection is to end: only one that is told so knows that it was not begun.
    const TELLS: bool;

    /// Lets requests under way end and takes no more.
    fn begin_drain(self: Pin<&mut Self>);
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Over,
    Broken(hyper::Error),
    /// It has to be dropped because something did not happen in time.
    Late(Late),
}

impl From<Result<(), hyper::Error>> for Ended {
    fn from(result: Result<(), hyper::Error>) -> Self {
        result.map_or_else(Self::Broken, |()| Self::Over)
    }
}

/// Returns when the connection is over. It is not closed before it is dropped.
pub(crate) async fn drive<C: Drains>(mut connection: Pin<&mut C>, pulse: &Pulse, shared: &Shared) -> Ended {
    let mut watch = shared.drain.subscribe();
    let mut drain = pin!(watch.wait_for(|is_draining| *is_draining));
    let mut is_enlisted = false;
    let mut is_draining = false;
    let mut timer = pin!(sleep_until(Instant::now() + FAR));
    // By when an idle connection that is told so has to end.
    let mut told_until = None;
    poll_fn(|cx| {
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(result.into());
        }
        // The waker of a task stays the same: to enlist once is enough.
        let must_drain = if is_enlisted {
            shared.is_draining.load(Relaxed)
        } else {
            is_enlisted = true;
            drain.as_mut().poll(cx).is_ready()
        };
        if must_drain && !is_draining {
            is_draining = true;
            connection.as_mut().begin_drain();
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.into());
            }
        }
        let late = loop {
            let Some((deadline, late)) = pulse.due() else { return Poll::Pending };
            let told = told_until.filter(|_| late == Late::Request);
            ready!(poll_due(timer.as_mut(), told.unwrap_or(deadline.into()), cx));
            if !C::TELLS || late != Late::Request || told.is_some() {
                break late;
            }
            told_until = Some(Instant::now() + LINGER);
            if !is_draining {
                is_draining = true;
                connection.as_mut().begin_drain();
            }
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.into());
            }
        };
        pulse.give_up(late);
        if late == Late::Head {
            // The guard tells the client so when it is asked for more.
            let _ = connection.as_mut().poll(cx);
        }
        Poll::Ready(Ended::Late(late))
    })
    .await
}
