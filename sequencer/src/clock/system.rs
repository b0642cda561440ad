//! The clock seam: the two clocks of a machine.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use refrain_wire::Time;

/// A wall clock and a monotonic one.
pub trait Clock {
    /// What the machine takes for the time.
    fn wall(&self) -> Time;
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn wall(&self) -> Time {
        (**self).wall()
    }

    fn elapsed(&self) -> Duration {
        (**self).elapsed()
    }
}

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// The clocks, the monotonic one beginning now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time::default().plus(since)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
