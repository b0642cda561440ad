//! What clients of one run share: when to stop, how much was answered, and how long nothing was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The shared state.
#[derive(Debug, Default)]
pub struct Pulse {
    stopped: AtomicBool,
    beats: Mutex<Beats>,
}

#[derive(Debug, Default)]
struct Beats {
    answered: u64,
    last: Option<Instant>,
    longest: Duration,
}

impl Pulse {
    /// Asks the clients to stop.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether they were asked to.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// So many requests were answered now.
    pub fn beat(&self, answered: u64) {
        let now = Instant::now();
        let mut beats = self.beats();
        beats.answered += answered;
        let gap = beats.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        beats.longest = beats.longest.max(gap);
        beats.last = Some(now);
    }

    /// How many requests were answered.
    pub fn answered(&self) -> u64 {
        self.beats().answered
    }

    /// The longest time between two answers.
    pub fn longest_gap(&self) -> Duration {
        self.beats().longest
    }

    /// Forgets gaps until now.
    pub fn forget_gaps(&self) {
        self.beats().longest = Duration::ZERO;
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().expect("no panic while it is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_between_answers() {
        let pulse = Pulse::default();
        pulse.beat(2);
        assert_eq!((pulse.answered(), pulse.longest_gap()), (2, Duration::ZERO));
        crate::wait::pause(Duration::from_millis(5));
        pulse.beat(1);
        assert!(pulse.answered() == 3 && pulse.longest_gap() >= Duration::from_millis(5));
        pulse.forget_gaps();
        assert_eq!(pulse.longest_gap(), Duration::ZERO);
    }
}
