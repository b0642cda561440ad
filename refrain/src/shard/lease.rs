//! The lease of this node's proxy, by its own clock: without word from the leader its connections are closed before
//! the leader can end their epoch.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Renewals in one lease.
const BEATS_PER_LEASE: u32 = 5;
/// The share of the lease after which the proxy gives it up, in percent: the rest is for clocks that differ.
const USED_PERCENT: u32 = 80;
/// The share of the lease in which calls outward are begun, in percent: a call is not begun that the proxy might have to
/// give up at once.
const OUTWARD_PERCENT: u32 = 60;
/// Renewals that may be unanswered; older ones say nothing.
const MAX_OPEN_BEATS: usize = 16;

/// The lease.
pub(super) struct Lease {
    own: Duration,
    /// As long as the leader's at most: that ends epochs by its own.
    length: Cell<Duration>,
    next_beat: Cell<u64>,
    sent: RefCell<VecDeque<(u64, Instant)>>,
    /// When an epoch was first asked for that has not begun.
    asked: Cell<Option<Instant>>,
    /// When the last renewal that was answered was sent.
    held_since: Cell<Option<Instant>>,
}

impl Lease {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            own: length,
            length: Cell::new(length),
            next_beat: Cell::new(1),
            sent: RefCell::default(),
            asked: Cell::new(None),
            held_since: Cell::new(None),
        }
    }

    /// A leader that ends epochs after so long leads from now on.
    pub(super) fn led_by(&self, leaders: Duration) {
        let own = self.own;
        if leaders != own {
            tracing::warn!(?own, ?leaders, "the leader has another lease: the shorter one counts; make them the same");
        }
        self.length.set(own.min(leaders));
    }

    /// How often it is renewed.
    pub(super) fn period(&self) -> Duration {
        self.length.get() / BEATS_PER_LEASE
    }

    /// An epoch is asked for, maybe again.
    pub(super) fn ask(&self) {
        self.asked.set(self.asked.get().or_else(|| Some(Instant::now())));
    }

    /// What was asked for is not wanted any more: the next epoch is another one.
    pub(super) fn give_up(&self) {
        self.asked.set(None);
    }

    /// This node learns that the epoch began. Its lease counts from when it was first asked for: the leader's begins later,
    /// but maybe long before this node learns of it.
    pub(super) fn begin(&self) {
        self.sent.borrow_mut().clear();
        self.held_since.set(Some(self.asked.take().unwrap_or_else(Instant::now)));
    }

    /// A renewal is sent now; returns its number.
    pub(super) fn beat(&self) -> u64 {
        let beat = self.next_beat.replace(self.next_beat.get() + 1);
        let mut sent = self.sent.borrow_mut();
        if sent.len() == MAX_OPEN_BEATS {
            sent.pop_front();
        }
        sent.push_back((beat, Instant::now()));
        beat
    }

    /// The leader answered a renewal: the lease counts from when that was sent.
    pub(super) fn renewed(&self, beat: u64) {
        let mut sent = self.sent.borrow_mut();
        while let Some((number, at)) = sent.front().copied().filter(|(number, _)| *number <= beat) {
            sent.pop_front();
            if number == beat {
                self.held_since.set(self.held_since.get().max(Some(at)));
            }
        }
    }

    /// Whether the proxy has to give up its epoch.
    pub(super) fn is_over(&self) -> bool {
        self.held_since.get().is_some_and(|since| since.elapsed() > self.length.get() * USED_PERCENT / 100)
    }

    /// Whether so much of it is left that a call outward may be begun.
    pub(super) fn has_time_for_calls(&self) -> bool {
        self.held_since.get().is_some_and(|since| since.elapsed() <= self.length.get() * OUTWARD_PERCENT / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_counts_from_when_the_answered_renewal_was_sent() {
        let second = Duration::from_secs(1);
        let lease = Lease::new(5 * second);
        assert!(!lease.is_over(), "there is none yet");
        lease.begin();
        tokio::time::advance(3 * second).await;
        let beat = lease.beat();
        tokio::time::advance(second).await;
        lease.renewed(beat);
        lease.renewed(beat + 7);
        tokio::time::advance(3 * second).await;
        assert!(!lease.is_over(), "four seconds after the renewal was sent");
        assert!(!lease.has_time_for_calls(), "three would have been the last");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(lease.is_over());
        lease.begin();
        assert!(!lease.is_over() && lease.has_time_for_calls());
    }

    #[tokio::test(start_paused = true)]
    async fn it_counts_from_when_the_epoch_was_first_asked_for() {
        let second = Duration::from_secs(1);
        let lease = Lease::new(5 * second);
        lease.ask();
        tokio::time::advance(2 * second).await;
        lease.ask();
        tokio::time::advance(second).await;
        lease.begin();
        assert!(!lease.is_over());
        tokio::time::advance(second + Duration::from_millis(1)).await;
        assert!(lease.is_over(), "four seconds after it was asked for");
        lease.ask();
        lease.give_up();
        tokio::time::advance(second).await;
        lease.ask();
        tokio::time::advance(3 * second).await;
        lease.begin();
        assert!(!lease.is_over(), "another one, asked for three seconds ago");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_never_longer_than_the_leaders_nor_than_its_own() {
        let second = Duration::from_secs(1);
        let lease = Lease::new(5 * second);
        lease.begin();
        lease.led_by(second);
        assert_eq!(lease.period(), second / 5);
        tokio::time::advance(second * 9 / 10).await;
        assert!(lease.is_over());
        lease.begin();
        lease.led_by(60 * second);
        tokio::time::advance(second * 9 / 10).await;
        assert!(!lease.is_over());
        tokio::time::advance(4 * second).await;
        assert!(lease.is_over());
    }
}
