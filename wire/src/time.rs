//! Log time: microseconds since 1970, as the leader stamped them into a batch.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch; 56 bits are stored, which last until the year 4253.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The largest time that fits into a batch.
    pub const MAX: Self = Self((1 << 56) - 1);

    /// `micros` since 1970, at most [`Time::MAX`].
    #[must_use]
    pub fn from_micros(micros: u64) -> Self {
        Self(micros.min(Self::MAX.0))
    }

    /// `nanos` since 1970, rounded up to a microsecond, so that a timer never fires early.
    #[must_use]
    pub fn from_nanos_ceil(nanos: u64) -> Self {
        Self::from_micros(nanos.div_ceil(1000))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0
    }

    /// Nanoseconds since 1970; saturates at `u64::MAX`.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.0.saturating_mul(1000)
    }

    /// This time and `after`, at most [`Time::MAX`].
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this time is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes()[..7]);
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
