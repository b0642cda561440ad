//! Moves one connection until it ends, is late, or has been drained.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::pulse::Pulse;
use super::shared::Shared;
use super::stall::poll_due;

/// Where the timer stands before there is a deadline.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection of hyper, of either protocol.
pub(crate) trait Drains: Future {
    /// Lets requests under way end and takes no more.
    fn begin_drain(self: Pin<&mut Self>);
}

/// Returns when the connection is over, or has to be dropped because nothing happened in time.
pub(crate) async fn drive<C: Drains>(connection: C, pulse: &Pulse, shared: &Shared) {
    let mut connection = pin!(connection);
    let mut watch = shared.drain.subscribe();
    let mut drain = pin!(watch.wait_for(|is_draining| *is_draining));
    let mut is_enlisted = false;
    let mut is_draining = false;
    let mut timer = pin!(sleep_until(Instant::now() + FAR));
    poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
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
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        let Some(deadline) = pulse.deadline().map(Instant::from_std) else { return Poll::Pending };
        poll_due(timer.as_mut(), deadline, cx)
    })
    .await;
}
