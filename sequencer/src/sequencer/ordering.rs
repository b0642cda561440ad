//! How long the draft on its way has been on it, for whoever measures.

use std::time::Duration;

use refrain_wire::Time;

/// The draft that is on its way to the log: how long ago it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordering {
    /// Its log time, by which its entry is known.
    pub time: Time,
    /// Since the first of what it contains was taken.
    pub since_taken: Duration,
    /// Since it was made.
    pub since_drafted: Duration,
}

/// When the draft began, by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    pub(super) time: Time,
    pub(super) taken: Duration,
    pub(super) drafted: Duration,
}

impl Begun {
    pub(super) fn at(self, now: Duration) -> Ordering {
        let Self { time, taken, drafted } = self;
        Ordering { time, since_taken: now.saturating_sub(taken), since_drafted: now.saturating_sub(drafted) }
    }
}
