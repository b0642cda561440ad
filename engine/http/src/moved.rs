//! Whether a body moves: who waits for an answer while a request is still on its way waits no longer than a limit after
//! its last piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Counts the pieces of one body.
#[derive(Clone, Default)]
pub(crate) struct Moved(Arc<AtomicU64>);

impl Moved {
    /// One more piece has moved.
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Resolves when nothing has moved for so long.
    pub(crate) async fn stands_still(&self, limit: Duration) {
        let mut since = Since::now(self.clone());
        loop {
            let until = since.last() + limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// When a body moved last, as far as was looked.
pub(crate) struct Since {
    moved: Moved,
    seen: u64,
    at: Instant,
}

impl Since {
    /// Counts from now.
    pub(crate) fn now(moved: Moved) -> Self {
        let seen = moved.0.load(Ordering::Relaxed);
        Self { moved, seen, at: Instant::now() }
    }

    /// The last look before which something had moved; at first when the counting began.
    pub(crate) fn last(&mut self) -> Instant {
        let seen = self.moved.0.load(Ordering::Relaxed);
        if seen != self.seen {
            self.seen = seen;
            self.at = Instant::now();
        }
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_begins_anew_as_long_as_something_moves() {
        let moved = Moved::default();
        let limit = Duration::from_secs(10);
        let moving = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                moved.note();
            }
        };
        let began = Instant::now();
        let (still, ()) = futures_util::future::join(
            async {
                moved.stands_still(limit).await;
                began.elapsed()
            },
            moving,
        )
        .await;
        assert!((Duration::from_secs(90)..=Duration::from_secs(110)).contains(&still), "{still:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_moves_meets_the_limit_at_once() {
        let began = Instant::now();
        Moved::default().stands_still(Duration::from_secs(10)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}
